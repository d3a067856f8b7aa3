"""Products of the members of a concept, of the kind that this CPU computes fastest, and how far each kind may err.

Whichever kind finds the candidates, exact distances in whole steps rank them, and bounds on what the kind has rounded
tell which rows might have lost a neighbour: neighbours do not depend on the kind.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast, get_args

import llvmlite.binding
import numpy as np
import numpy.typing as npt

from filtering.core.errors import InputError
from filtering.core.fixed_point import Int16Array, squared_lengths
from filtering.core.step_products import step_products
from filtering.graph.quantised import DEVIATION, quantised

Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
# Products in float32, or in whole steps: int32.
Products = npt.NDArray[Any]
Rows = slice | Int64Array

# The products of two blocks, 1 MB, stay in a second-level cache.
BLOCK_ROWS = 512
# Smaller concepts are not multiplied in bytes: there is little to win, and torch need not be imported.
NARROW_ROWS = 2048
# int8 by torch, int16 by `core.step_products`, float32 by BLAS.
Kind = Literal["bytes", "steps", "float32"]
# Candidates fetched beyond k, so that few rows have to be searched again: what rounding moves by a few places is then
# among those that are ranked. Of rows of pool-like concepts, 2.5 % are searched again in bytes.
SPARE_CANDIDATES: dict[Kind, int] = {"bytes": 12, "steps": 2, "float32": 6}
# Names the kind that is used everywhere, for tests and support: auto, or a kind. Results are the same.
VARIABLE = "FILTERING_PRODUCTS"
# Half the distance between 1 and the next float32.
FLOAT32_ROUNDING = 2.0**-24
# What computing a bound in float64 may change it by.
SAFETY = 1e-9
# Products in steps are divided by 2 to this power, so that differences of two stay within int32.
SHIFT = 2


@dataclass(frozen=True, slots=True)
class Coarse:
    """Products that may have been rounded, and bounds on what that changes.

    With D for a squared distance, and D' for what these products make of it, in their own unit u, D' is at most
    D / u + 2 radius sqrt(D / u) + slack.
    """

    products: Callable[[Rows, slice], Products]  # of some rows with some columns: int32 or float32 (r, c)
    halves: Products  # int32 or float32 (m,), half the squared lengths
    unit: float  # squared steps of 2^-15 in one of D'
    slack: float
    radius: float = 0.0

    def reaches(self, farthest: Products) -> Float64Array:
        """Return the squared distance, in steps, below which no row is missing, float64 (m,).

        `farthest`, (m,), is <x, y> - |y|^2 / 2 of the last candidate y of each row x.
        """
        found = 2 * (self.halves.astype(np.float64) - farthest) - self.slack
        lengths = np.sqrt(np.maximum(found, 0) + self.radius**2) - self.radius
        return np.asarray(lengths**2 * (self.unit * (1 - SAFETY)))

    def cuts(self, rows: Int64Array, limits: Float64Array) -> Float64Array:
        """Return how large <x, y> - |y|^2 / 2 is at least for y within a squared distance of x, float64 (r,).

        `limits`, float64 (r,), are the squared distances of the rows, in steps.
        """
        squares = limits / self.unit
        squares = (squares + 2 * self.radius * np.sqrt(squares) + self.slack) * (1 + SAFETY)
        return np.asarray(self.halves[rows] - squares / 2)


def coarse_products(steps: Int16Array, own: int, kind: Kind) -> Coarse:
    """Return products of a kind of a concept's members, int16 (m, w), as `core.step_products.aligned` returns them."""
    if kind == "steps":
        return _of_steps(steps)
    centre = centre_of(steps, own)
    return _of_bytes(steps, centre) if kind == "bytes" else _of_floats(steps, centre)


def fastest_kind(rows: int) -> Kind:
    """Return the kind of products for a concept of this many rows, replicas included, on this CPU."""
    named = os.environ.get(VARIABLE, "auto")
    if named in get_args(Kind):
        return cast(Kind, named)
    if named != "auto":
        raise InputError(f"{VARIABLE}: must be auto, {', '.join(get_args(Kind))}, got {named!r}")
    kind = cpu_kind()
    return "steps" if kind == "bytes" and rows < NARROW_ROWS else kind


@lru_cache
def cpu_kind() -> Kind:
    """Return the kind of products that this CPU computes fastest in large concepts.

    Bytes with AVX-512 VNNI, where torch multiplies them without saturation; steps with AVX2, whose products of int16
    are 1.4 times as fast as those of float32; float32 elsewhere, as on ARM and with AVX-512 alone.
    """
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512vnni"):
        return "bytes"
    return "steps" if features.get("avx2") and not features.get("avx512f") else "float32"


def _of_steps(steps: Int16Array) -> Coarse:
    block = np.empty(BLOCK_ROWS**2, dtype=np.int32)

    def products(rows: Rows, columns: slice) -> Products:
        left, right = steps[rows], steps[columns]
        here = block[: len(left) * len(right)].reshape(len(left), len(right))
        step_products(left, right, SHIFT, here)
        return here

    halves = (squared_lengths(steps) >> (SHIFT + 1)).astype(np.int32)
    # A product and two halves have been rounded down, by less than 1 each.
    return Coarse(products, halves, float(1 << SHIFT), 6.0)


def _of_bytes(steps: Int16Array, centre: Int32Array) -> Coarse:
    import torch

    torch.set_num_threads(1)
    coarse = quantised(steps, centre)
    bytes_ = torch.from_numpy(coarse.rows)
    # Blocks are written to the same memory again and again: fresh pages would cost a quarter of the time.
    block = torch.empty(BLOCK_ROWS**2, dtype=torch.int32)

    def products(rows: Rows, columns: slice) -> Products:
        left, right = bytes_[rows], bytes_[columns]
        here = block[: len(left) * len(right)].view(len(left), len(right))
        product: Int32Array = torch._int_mm(left, right.T, out=here).numpy()
        return product

    # Two halves have been rounded down, by up to a half each.
    return Coarse(products, coarse.halves, coarse.step**2, coarse.moved + 2, DEVIATION)


def _of_floats(steps: Int16Array, centre: Int32Array) -> Coarse:
    centred = centred_rows(steps, centre)
    halves = np.einsum("nd,nd->n", centred, centred) / np.float32(2)
    slack = rounding_slack(steps.shape[1], float(halves.max(initial=0)))
    return Coarse(lambda rows, columns: centred[rows] @ centred[columns].T, halves, 1.0, slack)


def centre_of(steps: Int16Array, own: int) -> Int32Array:
    """Return the mean of the own rows, int32 (w,): relative to it close rows differ in their leading digits."""
    return np.asarray(steps[:own].sum(axis=0, dtype=np.int64) // max(own, 1), dtype=np.int32)


def centred_rows(steps: Int16Array, centre: Int32Array) -> npt.NDArray[np.float32]:
    """Return rows relative to a centre, in steps, float32 (m, w), exact."""
    return np.subtract(steps, centre, dtype=np.float32, casting="unsafe")


def rounding_slack(width: int, half: float, rounding: float = FLOAT32_ROUNDING) -> float:
    """Return how much too large a squared distance may come out of products and halves in floating point.

    Notes
    -----
    A sum of w products of numbers, rounded each by up to u, errs by no more than w u / (1 - w u) times the product of
    both lengths, in any order (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). `half` is
    half the largest squared length; a product counts twice, the halves of both rows once.
    """
    share = (width + 8) * rounding
    return 4 * share / (1 - share) * 2 * half * (1 + share)
