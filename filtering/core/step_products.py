"""Products of blocks of rows in steps, exact on every CPU: pairs of int16 are multiplied and added up in int32.

Written in the compiler's own language, in which a product of pairs becomes one instruction where there is one
(vpmaddwd; vpdpwssd on newer CPUs): twice as many a cycle as float32 has, and no rounding.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]

# Coordinates that are multiplied at once: those of a register of 256 bits. Rows are padded to a multiple of them.
LANES = 16
# Rows of either side whose sums are kept in registers: 9 sums and 6 rows are in 15 of 16.
TILE = 3
# Rows of the right side that stay in the first-level cache while the left side passes.
HELD = 12


def aligned(steps: Int16Array) -> Int16Array:
    """Return rows in steps, int16 (n, d), padded with zeros to a multiple of 16 coordinates, contiguous."""
    missing = -steps.shape[1] % LANES
    return np.ascontiguousarray(np.pad(steps, ((0, 0), (0, missing))) if missing else steps)


@njit(cache=True)  # type: ignore[untyped-decorator]
def step_products(left: Int16Array, right: Int16Array, shift: int, products: Int32Array) -> None:
    """Write the scalar products of two blocks of rows, in squared steps over 2^`shift`, rounded down.

    `left`, int16 (n, w), and `right`, int16 (m, w), are as `aligned` returns them, `products` is int32 (n, m),
    contiguous.
    """
    rows, columns = products.shape
    whole = rows // TILE * TILE
    for start in range(0, columns, HELD):
        stop = min(start + HELD, columns)
        tiled = start + (stop - start) // TILE * TILE
        for row in range(0, whole, TILE):
            for column in range(start, tiled, TILE):
                _tile(left, right, row, column, shift, products)
            for column in range(tiled, stop):
                for at in range(row, row + TILE):
                    _single(left, right, at, column, shift, products)
        for row in range(whole, rows):
            for column in range(start, stop):
                _single(left, right, row, column, shift, products)


def _products_of(count: int) -> Any:
    """Return a compiled function that writes the products of `count` rows of either side."""

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        _typing: Any, left: Any, right: Any, row: types.Integer, column: types.Integer, shift: Any, products: Any
    ) -> Any:
        signature = types.void(left, right, types.intp, types.intp, types.int32, products)

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            arrays = [
                context.make_array(signature.args[at])(context, builder, values[at]) for at in (0, 1, len(values) - 1)
            ]
            _write_tile(builder, arrays, values[2:4], values[4], count)
            return context.get_dummy_value()

        return signature, code

    return tile


def _write_tile(builder: Any, arrays: Any, places: Any, shift: Any, count: int) -> None:
    """Write the instructions: a loop over the coordinates of `count` rows of either side, then the sums' lanes."""
    place, narrow, wide = ir.IntType(64), ir.VectorType(ir.IntType(16), LANES), ir.VectorType(ir.IntType(32), LANES)
    sums = ir.VectorType(ir.IntType(32), LANES // 2)
    width, columns = (cgutils.unpack_tuple(builder, array.shape)[1] for array in arrays[1:])
    rows = [
        [builder.gep(array.data, [builder.mul(builder.add(first, place(at)), width)]) for at in range(count)]
        for array, first in zip(arrays[:2], places, strict=True)
    ]
    before, loop, after = builder.basic_block, *(builder.append_basic_block(name) for name in ("loop", "after"))
    builder.branch(loop)
    builder.position_at_end(loop)
    at = builder.phi(place)
    totals = [builder.phi(sums) for _ in range(count * count)]

    def loaded(row: Any) -> Any:
        value = builder.load(builder.bitcast(builder.gep(row, [at]), narrow.as_pointer()))
        value.align = 2
        return builder.sext(value, wide)

    left, right = ([loaded(row) for row in side] for side in rows)
    # Each sum of two products that stand side by side is what one instruction gives.
    pairs = [_pairs(builder, builder.mul(one, other), wide, sums) for one in left for other in right]
    grown = [builder.add(total, pair) for total, pair in zip(totals, pairs, strict=True)]
    further = builder.add(at, place(LANES))
    at.add_incoming(place(0), before)
    at.add_incoming(further, loop)
    for total, more in zip(totals, grown, strict=True):
        total.add_incoming(sums([0] * (LANES // 2)), before)
        total.add_incoming(more, loop)
    builder.cbranch(builder.icmp_signed("<", further, width), loop, after)
    builder.position_at_end(after)
    added = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.IntType(32), [sums]), f"llvm.vector.reduce.add.v{LANES // 2}i32"
    )
    for number, total in enumerate(grown):
        row, column = (builder.add(first, place(one)) for first, one in zip(places, divmod(number, count), strict=True))
        target = builder.gep(arrays[2].data, [builder.add(builder.mul(row, columns), column)])
        builder.store(builder.ashr(builder.call(added, [total]), shift), target)


def _pairs(builder: Any, products: Any, wide: Any, sums: Any) -> Any:
    halves = (ir.Constant(ir.VectorType(ir.IntType(32), LANES // 2), list(range(at, LANES, 2))) for at in (0, 1))
    return builder.add(*(builder.shuffle_vector(products, ir.Constant(wide, ir.Undefined), half) for half in halves))


_tile, _single = _products_of(TILE), _products_of(1)
