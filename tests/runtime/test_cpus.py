import platform

from filtering.runtime.cpus import cpu_line, line_of

X86 = """processor	: 0
model name	: Example CPU
flags		: fpu avx2 sse2 fma avx512_vnni
processor	: 1
model name	: Example CPU
flags		: fpu avx2 sse2 fma avx512_vnni
"""


def test_a_cpu_is_its_model_and_the_instructions_of_products():
    assert line_of(X86) == "Example CPU: avx2 fma avx512_vnni"
    assert line_of("processor : 0\nFeatures : fp asimd asimddp\n") == f"{platform.machine()}: asimd asimddp"
    assert line_of("") == platform.machine()


def test_every_machine_has_a_line():
    assert cpu_line()
