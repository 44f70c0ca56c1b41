"""Sixteen float32 numbers as one value inside numba functions.

numba leaves vector instructions to the compiler's guess, which fails on loops with offsets that it cannot see through.
Here they are written down: one `Float32x16` is one register of AVX-512, two of AVX2, or four of NEON; the compiler
splits it as the machine needs. Arithmetic is plain IEEE, so that every machine gives the same bits.

`load` and `store` take a one-dimensional float32 array and an index; they check no bounds.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numba.np.arrayobj import make_array

LANES = 16

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDICES = ir.VectorType(ir.IntType(32), LANES)
_UNDEFINED = ir.Constant(_VECTOR, ir.Undefined)


class Float32x16(types.Type):
    """The numba type of sixteen float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name="Float32x16")


VECTOR = Float32x16()


@register_model(Float32x16)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _call(builder: Any, name: str, arguments: list[Any]) -> Any:
    """A call of an LLVM intrinsic whose arguments and result are vectors."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f32"), arguments)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load(typing, array, index):  # type: ignore[no-untyped-def]
    """array[index : index + 16]."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *arguments), align=4)

    return VECTOR(array, types.intp), build


@intrinsic
def store(typing, array, index, value):  # type: ignore[no-untyped-def]
    """array[index : index + 16] = value."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _address(context, builder, signature.args[0], *arguments[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), build


@intrinsic
def splat(typing, value):  # type: ignore[no-untyped-def]
    """Sixteen times the same number."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = builder.insert_element(_UNDEFINED, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, _UNDEFINED, ir.Constant(_INDICES, [0] * LANES))

    return VECTOR(types.float32), build


def _binary(build_one: Callable[[Any, Any, Any], Any]) -> Any:
    """An operation of two vectors, from a function of (builder, a, b)."""

    @intrinsic
    def operation(typing, a, b):  # type: ignore[no-untyped-def]
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return build_one(builder, *arguments)

        return VECTOR(VECTOR, VECTOR), build

    return operation


_add = _binary(lambda builder, a, b: builder.fadd(a, b))
_multiply = _binary(lambda builder, a, b: builder.fmul(a, b))


@overload(operator.add)
def _overload_add(a, b):  # type: ignore[no-untyped-def]
    if isinstance(a, Float32x16) and isinstance(b, Float32x16):
        return lambda a, b: _add(a, b)
    return None


@overload(operator.mul)
def _overload_multiply(a, b):  # type: ignore[no-untyped-def]
    if isinstance(a, Float32x16) and isinstance(b, Float32x16):
        return lambda a, b: _multiply(a, b)
    return None


maximum = _binary(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
minimum = _binary(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))


def _shifted(count: int) -> Any:
    """low[count:] followed by high[:count]: the sixteen numbers that start `count` after low."""
    order = ir.Constant(_INDICES, list(range(count, count + LANES)))
    return _binary(lambda builder, low, high: builder.shuffle_vector(low, high, order))


shift1, shift2, shift3, shift4 = (_shifted(count) for count in (1, 2, 3, 4))


def _neighbours(builder: Any, low: Any, high: Any) -> Any:
    even = builder.shuffle_vector(low, high, ir.Constant(_INDICES, list(range(0, 2 * LANES, 2))))
    odd = builder.shuffle_vector(low, high, ir.Constant(_INDICES, list(range(1, 2 * LANES, 2))))
    return builder.fadd(even, odd)


pairs = _binary(_neighbours)
"""Sums of neighbours: thirty-two numbers become sixteen."""


@intrinsic
def power_of(typing, x, w, least):  # type: ignore[no-untyped-def]
    """x |x| / (w (1 - w)) where w (1 - w) exceeds `least`, else 0: a squared signal-to-noise ratio with its sign."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, w, least = arguments
        variance = _call(builder, "llvm.fma", [builder.fneg(w), w, w])
        power = builder.fdiv(builder.fmul(x, _call(builder, "llvm.fabs", [x])), variance)
        return builder.select(builder.fcmp_ordered(">", variance, least), power, ir.Constant(_VECTOR, None))

    return VECTOR(VECTOR, VECTOR, VECTOR), build


def _extreme(order: str) -> Any:
    """The one of sixteen numbers that comes first in this order, by halving."""

    @intrinsic
    def operation(typing, value):  # type: ignore[no-untyped-def]
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (best,) = arguments
            half = LANES // 2
            while half:
                places = ir.Constant(_INDICES, [k + half if k < half else 0 for k in range(LANES)])
                other = builder.shuffle_vector(best, _UNDEFINED, places)
                best = builder.select(builder.fcmp_ordered(order, best, other), best, other)
                half //= 2
            return builder.extract_element(best, ir.Constant(ir.IntType(32), 0))

        return types.float32(VECTOR), build

    return operation


highest, lowest = _extreme(">"), _extreme("<")
