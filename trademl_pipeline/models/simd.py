"""Vectors of float32 as numba values: the compiled CPU kernels say themselves what goes into a register.

A :class:`Lanes` value is an LLVM vector of any width; LLVM cuts it into the registers that the processor has.
``+ - * /`` (also with a scalar) and the functions below work lane by lane. Written as loops over scratch
arrays, the scan takes two to four times as long: LLVM then has to prove at run time, before each short
loop, that the arrays do not overlap, and sums go through memory.

A product and a sum may be fused into one instruction; nothing else is reordered, and NaN stays NaN.
"""

import operator
from typing import Any

import numba.extending
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import models, overload, register_model

intrinsic: Any = numba.extending.intrinsic  # callers do not pass the first parameter, the typing context
_INT, _FLOAT = ir.IntType(32), ir.FloatType()
_FUSE = ("contract",)


class Lanes(types.Type):
    """Numba's type of a vector of ``width`` float32."""

    def __init__(self, width: int):
        self.width = width
        super().__init__(name=f"Lanes({width})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, _floats(lanes.width))


def _constant(kind) -> int:
    """Value of an argument that must be known when a kernel is compiled."""
    if not isinstance(kind, types.IntegerLiteral):
        raise errors.TypingError(f"widths and counts must be constants (a literal or a global), got {kind}")
    return kind.literal_value


def _floats(width: int) -> ir.VectorType:
    return ir.VectorType(_FLOAT, width)


def _integers(values) -> ir.Constant:
    values = list(values)
    return ir.Constant(ir.VectorType(_INT, len(values)), values)


def _pick(builder, x, y, lanes):
    """The vector of the given lanes of x and y put one after the other."""
    return builder.shuffle_vector(x, y, _integers(lanes))


def _spread(builder, scalar, width: int):
    """The scalar in every lane."""
    first = ir.Constant(ir.VectorType(scalar.type, width), ir.Undefined)
    first = builder.insert_element(first, scalar, ir.Constant(_INT, 0))
    return _pick(builder, first, first, [0] * width)


def _as_lanes(context, builder, value, kind, width: int):
    if isinstance(kind, Lanes):
        return value
    return _spread(builder, context.cast(builder, value, kind, types.float32), width)


def _call(builder, name: str, returns, args):
    kind = ir.FunctionType(returns, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _add(builder, x, y):
    return builder.fadd(x, y, flags=_FUSE)


def _elementwise(build):
    """An intrinsic of two operands of which at least one is a vector; the other may be a scalar."""

    @intrinsic
    def apply(typingctx, a, b):
        lanes = a if isinstance(a, Lanes) else b

        def codegen(context, builder, signature, args):
            kinds = zip(args, signature.args, strict=True)
            return build(builder, *(_as_lanes(context, builder, v, k, lanes.width) for v, k in kinds))

        return lanes(a, b), codegen

    return apply


def _define_operator(op, build) -> None:
    apply = _elementwise(build)

    @overload(op)
    def of_lanes(a, b):
        if isinstance(a, Lanes) or isinstance(b, Lanes):
            return lambda a, b: apply(a, b)
        return None


_define_operator(operator.add, _add)
_define_operator(operator.sub, lambda builder, x, y: builder.fsub(x, y, flags=_FUSE))
_define_operator(operator.mul, lambda builder, x, y: builder.fmul(x, y, flags=_FUSE))
_define_operator(operator.truediv, lambda builder, x, y: builder.fdiv(x, y, flags=_FUSE))


@_elementwise
def at_least(builder, x, y):
    """The larger of x and y; NaN where x is NaN."""
    return builder.select(builder.fcmp_ordered("<", x, y), y, x)


@_elementwise
def at_most(builder, x, y):
    """The smaller of x and y; NaN where x is NaN."""
    return builder.select(builder.fcmp_ordered(">", x, y), y, x)


@intrinsic
def where_positive(typingctx, x, yes, no):
    """``yes`` in the lanes where x >= 0, else ``no``."""

    def codegen(context, builder, signature, args):
        kinds = zip(args, signature.args, strict=True)
        v, y, n = (_as_lanes(context, builder, a, k, x.width) for a, k in kinds)
        return builder.select(builder.fcmp_ordered(">=", v, ir.Constant(v.type, [0.0] * x.width)), y, n)

    return x(x, yes, no), codegen


@intrinsic
def magnitude(typingctx, x):
    """The absolute value."""

    def codegen(context, builder, signature, args):
        return _call(builder, f"llvm.fabs.v{x.width}f32", args[0].type, args)

    return x(x), codegen


@intrinsic
def power_of_two(typingctx, k):
    """``2**n`` from ``k = n + 1.5 * 2**23 + 127``, whose low bits are the exponent bits of the result."""

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.VectorType(_INT, k.width))
        return builder.bitcast(builder.shl(bits, _integers([23] * k.width)), args[0].type)

    return k(k), codegen


@intrinsic(prefer_literal=True)
def spread(typingctx, value, width):
    """A scalar in each of ``width`` lanes."""
    lanes = Lanes(_constant(width))

    def codegen(context, builder, signature, args):
        return _as_lanes(context, builder, args[0], signature.args[0], lanes.width)

    return lanes(value, width), codegen


def _place(context, builder, signature, args, kind):
    """Pointer to a vector (or scalar) of the LLVM type ``kind`` in the array args[0] at the index tuple args[1]."""
    array, at = signature.args[:2]
    if array.layout != "C" or array.dtype != types.float32:
        raise errors.TypingError(f"a kernel reads and writes C-ordered float32 arrays, got {array}")
    index = [
        context.cast(builder, builder.extract_value(args[1], i), k, types.intp)
        for i, k in enumerate(at.types)
    ]
    struct = context.make_array(array)(context, builder, args[0])
    place = cgutils.get_item_pointer(context, builder, array, struct, index, wraparound=False)
    return builder.bitcast(place, kind.as_pointer())


def _first(context, builder, signature, args, width: int):
    """Mask of the first args[2] lanes."""
    count = builder.trunc(context.cast(builder, args[2], signature.args[2], types.int64), _INT)
    return builder.icmp_signed("<", _integers(range(width)), _spread(builder, count, width))


@intrinsic(prefer_literal=True)
def load(typingctx, array, at, width):
    """``width`` elements of a C-ordered float32 array, from the index tuple ``at`` on."""
    lanes = Lanes(_constant(width))

    def codegen(context, builder, signature, args):
        return builder.load(_place(context, builder, signature, args, _floats(lanes.width)), align=4)

    return lanes(array, at, width), codegen


@intrinsic
def store(typingctx, array, at, x):
    """Write all lanes of x to a C-ordered float32 array, from the index tuple ``at`` on."""

    def codegen(context, builder, signature, args):
        builder.store(args[2], _place(context, builder, signature, args, args[2].type), align=4)
        return context.get_dummy_value()

    return types.none(array, at, x), codegen


@intrinsic(prefer_literal=True)
def load_first(typingctx, array, at, count, width):
    """As :func:`load`, but only ``count`` elements are read; the lanes after them are 0.

    Args:
        array: C-ordered float32.
        at: index tuple of the first element.
        count: elements to read, at most ``width``.
        width: lanes of the result, a literal integer.
    """
    lanes = Lanes(_constant(width))

    def codegen(context, builder, signature, args):
        kind = _floats(lanes.width)
        place = _place(context, builder, signature, args, kind)
        mask = _first(context, builder, signature, args, lanes.width)
        rest = ir.Constant(kind, [0.0] * lanes.width)
        masked = [place, ir.Constant(_INT, 4), mask, rest]
        return _call(builder, f"llvm.masked.load.v{lanes.width}f32.p0", kind, masked)

    return lanes(array, at, count, width), codegen


@intrinsic
def store_first(typingctx, array, at, count, x):
    """As :func:`store`, but only the first ``count`` lanes are written.

    Args:
        array: C-ordered float32.
        at: index tuple of the first element.
        count: lanes to write.
        x: vector of lanes.
    """

    def codegen(context, builder, signature, args):
        place = _place(context, builder, signature, args, args[3].type)
        mask = _first(context, builder, signature, args, x.width)
        masked = [args[3], place, ir.Constant(_INT, 4), mask]
        _call(builder, f"llvm.masked.store.v{x.width}f32.p0", ir.VoidType(), masked)
        return context.get_dummy_value()

    return types.none(array, at, count, x), codegen


@intrinsic(prefer_literal=True)
def repeat(typingctx, x, times):
    """x ``times`` times, one after the other: (a b) -> (a b a b)."""
    lanes = Lanes(x.width * _constant(times))

    def codegen(context, builder, signature, args):
        return _pick(builder, args[0], args[0], list(range(x.width)) * _constant(times))

    return lanes(x, times), codegen


@intrinsic(prefer_literal=True)
def spread_each(typingctx, array, at, count, width):
    """Load ``count`` elements of an array from ``at`` on, each into ``width`` lanes: (a b) -> (a a b b).

    Args:
        array: C-ordered float32.
        at: index tuple of the first element.
        count: elements to read, a literal power of two.
        width: lanes of each, a literal integer.
    """
    lanes = Lanes(_constant(count) * _constant(width))

    def codegen(context, builder, signature, args):
        place = _place(context, builder, signature, args, _FLOAT)
        parts = []
        for i in range(_constant(count)):
            element = builder.load(builder.gep(place, [ir.Constant(_INT, i)]), align=4)
            parts.append(_spread(builder, element, _constant(width)))
        while len(parts) > 1:
            joined = range(2 * parts[0].type.count)
            parts = [_pick(builder, a, b, joined) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    return lanes(array, at, count, width), codegen


def _parts(builder, x, count: int):
    width = x.type.count // count
    return [_pick(builder, x, x, range(i * width, (i + 1) * width)) for i in range(count)]


@intrinsic(prefer_literal=True)
def fold(typingctx, x, count):
    """Sum of the ``count`` equal parts of x (a power of 2): (a b c d) -> (a+c b+d) for 2."""
    lanes = Lanes(x.width // _constant(count))

    def codegen(context, builder, signature, args):
        parts = _parts(builder, args[0], _constant(count))
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [_add(builder, a, b) for a, b in zip(parts[:half], parts[half:], strict=True)]
        return parts[0]

    return lanes(x, count), codegen


@intrinsic
def sums_of_sixteen(typingctx, x, y):
    """Sum of each 16 lanes of x, then of each 16 of y; both have 64 lanes, the result has 8.

    Eight vectors are summed across their lanes together, two by two, which takes a third of the instructions
    of eight sums.
    """

    def codegen(context, builder, signature, args):
        def halved(p, q, lanes, distance):
            """Each of the lanes of (p q) plus the lane at that distance from it."""
            return _add(
                builder, _pick(builder, p, q, lanes), _pick(builder, p, q, [i + distance for i in lanes])
            )

        rows = [*_parts(builder, args[0], 4), *_parts(builder, args[1], 4)]
        # first within quarters of four lanes, where processors shuffle best; q's lanes count from 16 on
        for lanes in ((0, 16, 1, 17), (0, 1, 16, 17)):
            every = [quarter + i for quarter in (0, 4, 8, 12) for i in lanes]
            rows = [halved(p, q, every, 2) for p, q in zip(rows[::2], rows[1::2], strict=True)]
        half = halved(rows[0], rows[1], [*range(8), *range(16, 24)], 8)
        return halved(half, half, [0, 1, 2, 3, 8, 9, 10, 11], 4)

    if (x.width, y.width) != (64, 64):
        raise errors.TypingError(f"two vectors of 64 lanes are summed, got {x} and {y}")
    return Lanes(8)(x, y), codegen


@intrinsic
def wide_vectors(typingctx):
    """Let LLVM use 512-bit registers in the calling function; for some processors it stops at 256 bits."""

    def codegen(context, builder, signature, args):
        # llvmlite's own add() accepts enum attributes only; this one is a string attribute
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), codegen
