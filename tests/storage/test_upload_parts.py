from hypothesis import given
from hypothesis import strategies as st

from filtering.storage.upload_parts import LEAST_PART, Range, copied, size_of, upload_parts

LARGEST = 2 * LEAST_PART
# Around the sizes at which something is decided.
SIZES = st.lists(
    st.one_of(
        st.integers(0, 3 * LARGEST),
        st.sampled_from([0, 1, LEAST_PART - 1, LEAST_PART, LEAST_PART + 1, LARGEST - 128, LARGEST]),
    ),
    max_size=12,
)


@given(SIZES, st.integers(0, 200))
def test_parts_are_the_header_and_the_objects_in_order(sizes, header):
    objects = {f"s3://bucket/{at}": size for at, size in enumerate(sizes)}
    parts = list(upload_parts(b"h" * header, objects, LARGEST))
    pieces = [piece for part in parts for piece in part]
    assert (b"h" * header or None) == next((piece for piece in pieces if isinstance(piece, bytes)), None)
    assert header == 0 or isinstance(pieces[0], bytes)
    for url, size in objects.items():
        at = 0
        for piece in pieces:
            if isinstance(piece, Range) and piece.url == url:
                assert piece.start == at < piece.end
                at = piece.end
        assert at == size
    urls = [piece.url for piece in pieces if isinstance(piece, Range)]
    assert urls == sorted(urls, key=list(objects).index)


@given(SIZES, st.integers(0, 200))
def test_every_part_but_the_last_may_be_one_and_few_bytes_are_sent(sizes, header):
    objects = {f"s3://bucket/{at}": size for at, size in enumerate(sizes)}
    parts = list(upload_parts(b"h" * header, objects, LARGEST))
    assert all(size_of(part) >= LEAST_PART for part in parts[:-1])
    assert all(size_of(part) <= LARGEST for part in parts if copied(part))
    assert all(size_of(part) < 3 * LEAST_PART + header for part in parts if not copied(part))
    if all(size >= LARGEST for size in sizes):
        sent = sum(size_of(part) for part in parts if not copied(part))
        assert sent <= LEAST_PART + 200
