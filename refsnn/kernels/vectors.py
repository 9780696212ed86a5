"""Registers in LLVM's language: loads, stores and arithmetic of 16 numbers at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

LANES = 16
"""Numbers in a register, and bits in a word."""

_INDEX = ir.IntType(64)
_WORD = ir.IntType(16)


class Vectors:
    """Code for registers of one type of number.

    Parameters
    ----------
    context, builder : object
        Numba's target and LLVM's builder.
    element : numba type
        Type of a lane.
    """

    def __init__(self, context: Any, builder: Any, element: Any) -> None:
        self.context, self.builder = context, builder
        self.integer = isinstance(element, types.Integer)
        self.scalar = context.get_value_type(element)
        self.type = ir.VectorType(self.scalar, LANES)
        self.bytes = element.bitwidth // 8

    def place(self, array_type: Any, array: Any, at: Any) -> Any:
        """Point to the register that begins at an element of an array.

        Parameters
        ----------
        array_type, array, at : object
            Numba's type and value of a one-dimensional array; the element.

        Returns
        -------
        object
            The pointer.
        """
        pointer = self.element(array_type, array, at)
        return self.builder.bitcast(pointer, self.type.as_pointer())

    def element(self, array_type: Any, array: Any, at: Any, behind: int = 0) -> Any:
        """Point to an element of an array.

        Parameters
        ----------
        array_type, array, at : object
            As for :meth:`place`.
        behind : int
            How many elements further.

        Returns
        -------
        object
            The pointer.
        """
        data = self.context.make_array(array_type)(self.context, self.builder, array)
        index = self.builder.add(at, ir.Constant(at.type, behind))
        return self.builder.gep(data.data, [index])

    def load(self, pointer: Any, register: int, *, align: int | None = None) -> Any:
        """Load a register.

        Parameters
        ----------
        pointer : object
            To the first register.
        register : int
            Which one behind it.
        align : int, optional
            Bytes that its address is a multiple of; those of a lane by default.

        Returns
        -------
        object
            Its value.
        """
        place = self.builder.gep(pointer, [ir.Constant(_INDEX, register)])
        return self.builder.load(place, align=align or self.bytes)

    def store(self, value: Any, pointer: Any, register: int) -> None:
        """Store a register.

        Parameters
        ----------
        value, pointer : object
            The value; the first register.
        register : int
            Which one behind it.
        """
        place = self.builder.gep(pointer, [ir.Constant(_INDEX, register)])
        self.builder.store(value, place, align=self.bytes)

    def same(self, value: Any) -> Any:
        """Return a register with one value in every lane.

        Parameters
        ----------
        value : object
            The value.

        Returns
        -------
        object
            The register.
        """
        return self.spread(value, LANES)

    def spread(self, value: Any, count: int) -> Any:
        """Return a vector with one value in every lane.

        Parameters
        ----------
        value : object
            The value, cut to the width of a lane if it is a wider integer.
        count : int
            Lanes.

        Returns
        -------
        object
            The vector.
        """
        if value.type != self.scalar:
            value = self.builder.trunc(value, self.scalar)
        undefined = ir.Constant(ir.VectorType(self.scalar, count), ir.Undefined)
        first = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(undefined, value, first)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
        return self.builder.shuffle_vector(one, undefined, everywhere)

    def operate(self, name: str, a: Any, b: Any) -> Any:
        """Add, subtract or multiply, each product and sum rounded.

        Parameters
        ----------
        name : str
            ``add``, ``sub``, ``mul`` or, of numbers with a fraction, ``div``.
        a, b : object
            Registers.

        Returns
        -------
        object
            The register.
        """
        return getattr(self.builder, name if self.integer else f"f{name}")(a, b)

    def compare(self, how: str, a: Any, b: Any) -> Any:
        """Compare lanes.

        Parameters
        ----------
        how : str
            Such as ``>=``.
        a, b : object
            Registers.

        Returns
        -------
        object
            A bit a lane.
        """
        if self.integer:
            return self.builder.icmp_signed(how, a, b)
        return self.builder.fcmp_ordered(how, a, b)

    def under(self, bits: Any, value: Any) -> Any:
        """Keep a register where bits are set.

        Parameters
        ----------
        bits, value : object
            A bit a lane; the register.

        Returns
        -------
        object
            The value where the bit is set, else 0.
        """
        return self.builder.select(bits, value, self.zero())

    def zero(self) -> Any:
        """Return a register of zeros.

        Returns
        -------
        object
            The register.
        """
        return ir.Constant(self.type, [ir.Constant(self.scalar, 0)] * LANES)

    def loop(
        self,
        start: Any,
        stop: Any,
        state: list[Any],
        body: Callable[[Any, list[Any]], list[Any]],
    ) -> list[Any]:
        """Emit a loop that carries values from one turn to the next.

        It is never unrolled. A loop over a window runs so often as it has events, which
        no processor foresees: once more for every loop that it is split into.

        Parameters
        ----------
        start, stop : object
            The first index, and the one behind the last; there may be no turn.
        state : list
            The values before the first.
        body : callable
            Emits a turn, given the index and the values; returns those behind it.

        Returns
        -------
        list
            The values behind the last turn.
        """
        b = self.builder
        entry, turn = b.block, b.append_basic_block("turn")
        done = b.append_basic_block("done")
        b.cbranch(b.icmp_signed("<", start, stop), turn, done)

        b.position_at_end(turn)
        i, *now = [b.phi(one.type) for one in (start, *state)]
        after, last = body(i, now), b.block
        following = b.add(i, ir.Constant(start.type, 1))
        again = b.cbranch(b.icmp_signed("<", following, stop), turn, done)
        again.set_metadata("llvm.loop", self._rolled())

        b.position_at_end(done)
        found = [b.phi(one.type) for one in state]
        begins, ends = [start, *state, *state], [following, *after, *after]
        for phi, begin, end in zip([i, *now, *found], begins, ends, strict=True):
            phi.add_incoming(begin, entry)
            phi.add_incoming(end, last)
        return found

    def _rolled(self) -> Any:
        """Make the mark of a loop that is not to be unrolled."""
        module = self.builder.module
        disable = module.add_metadata(
            [ir.MetaDataString(module, "llvm.loop.unroll.disable")]
        )
        own = ir.Constant(ir.IntType(32), len(module.metadata))
        mark = module.add_metadata([own, disable])
        mark.operands = (mark, disable)  # a loop's mark names itself
        return mark

    def word(self, bits: Any) -> Any:
        """Pack a bit a lane into a word.

        Parameters
        ----------
        bits : object
            A bit a lane.

        Returns
        -------
        object
            The word, the first lane in the lowest bit.
        """
        return self.builder.bitcast(bits, _WORD)

    def bits(self, word: Any) -> Any:
        """Unpack a word into a bit a lane.

        Parameters
        ----------
        word : object
            The word.

        Returns
        -------
        object
            A bit a lane.
        """
        return self.builder.bitcast(word, ir.VectorType(ir.IntType(1), LANES))
