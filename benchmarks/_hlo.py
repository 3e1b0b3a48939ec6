"""The text of a compiled program: its loops, what a turn of each launches and moves, and what does not belong there.

Bytes are those of arrays in the device's main memory as they lie there, tiles filled up: what an instruction that runs
by itself reads and writes. Of what it only takes slices of, the slices count, and of what it updates in place the
update. Arrays that a compiler placed in a TPU's own memory on the chip (`S(1)`) cost nothing.
"""

import re
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

BITS = re.compile(r"\d+")
ARRAY = re.compile(r"\b(pred|token|opaque|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
ROW = re.compile(r"^(\d+) (?:\"(.*)\"|\{(.*)\})$")
TABLES = "FileNames", "FunctionNames", "FileLocations", "StackFrames"

NOTHING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier", "domain"}
"""Instructions that stand for no work."""

UNPAID = {"AllocateBuffer", "ConcatBitcast", "AssumeGatherIndicesInBound"}
"""Calls of a TPU's compiler that do none either."""

REARRANGES = NOTHING | {"copy", "transpose", "reshape", "concatenate", "slice", "pad"}
"""A kernel of nothing else is a copy."""

HOST = {"infeed", "outfeed", "send", "recv"}
FLOATS = re.compile(r"\b(?:bf16|f16|f32|f64)\[")
SHORT = re.compile(r"\b(?:bf16|f16|f8\w*)\[")
DOUBLES = re.compile(r"\b(?:f64|c128)\[")
EXACT = re.compile(r'operand_precision=\{highest,highest\}|"operand_precision":\["HIGHEST","HIGHEST"\]')
PRODUCTS = re.compile(r"gemm|cublas|matmul", re.IGNORECASE)


class Loop(NamedTuple):
    """What one turn does by itself, without the loops within it; the first of a program is the whole, of one turn.

    `function` is where the loop was written; `turns` is None where their number is data, as far as the compiler knows.
    `moved` bytes are read and written, of them `copied` by kernels that do nothing else; `branches` are chosen by data.
    """

    depth: int
    function: str
    turns: int | None
    kernels: int
    moved: int
    copied: int
    branches: int


class Foreign(NamedTuple):
    """How many products are not at full precision, 64-bit floats, and calls of the host."""

    short_products: int
    float64: int
    callbacks: int


class _Instruction(NamedTuple):
    name: str
    op: str
    shape: str
    operands: tuple[str, ...]
    literal: str
    rest: str
    root: bool

    def named(self, attribute: str) -> str:
        """The computation or target that an attribute names."""
        match = re.search(rf'\b{attribute}="?%?([\w.\-$]+)', self.rest)
        return match[1] if match else ""


_Computation = dict[str, _Instruction]


class _Program(NamedTuple):
    computations: dict[str, _Computation]
    entry: str
    functions: dict[str, str]


class _Turn(NamedTuple):
    kernels: int = 0
    moved: int = 0
    copied: int = 0
    branches: int = 0

    def plus(self, other: "_Turn") -> "_Turn":
        return _Turn(*(a + b for a, b in zip(self, other, strict=True)))


def loops(text: str) -> list[Loop]:
    """The whole program, then its loops from the outside in, as `compiled.as_text()` has them."""
    program = _parsed(text)
    return list(_loops(program, 0, "", 1, program.entry, ""))


def foreign(text: str) -> Foreign:
    """What should be zero in a program in float32 on one device; products of whole numbers are exact."""
    short = doubles = calls = 0
    for computation in _parsed(text).computations.values():
        for one in computation.values():
            target = one.named("custom_call_target")
            if one.op in ("dot", "convolution") or (one.op == "custom-call" and PRODUCTS.search(target)):
                factors = " ".join(computation[name].shape for name in one.operands if name in computation)
                fits = EXACT.search(one.rest) and not SHORT.search(factors)
                short += bool(FLOATS.search(one.shape)) and not fits
            doubles += bool(DOUBLES.search(one.shape))
            calls += one.op in HOST or "callback" in target or "S(5)" in one.shape
    return Foreign(short, doubles, calls)


def _loops(program: _Program, depth: int, function: str, turns: int | None, body: str, asked: str) -> Iterator[Loop]:
    turn, inner = _turn(program, body)
    if turns is None and asked:
        turn = turn.plus(_turn(program, asked)[0])
    yield Loop(depth, function, turns, *turn)
    for computation, one in inner:
        names = one.named("body"), one.named("condition")
        place = re.search(r"stack_frame_id=(\d+)", one.rest)
        where = program.functions.get(place[1], "") if place else ""
        yield from _loops(program, depth + 1, where, _turns(program, computation, one), *names)


def _turn(program: _Program, name: str) -> tuple[_Turn, list[tuple[_Computation, _Instruction]]]:
    """What a computation does by itself, with the dearest of its branches, and the loops in it."""
    turn, inner, computation = _Turn(), [], program.computations[name]
    for one in computation.values():
        if one.op == "while":
            inner.append((computation, one))
        elif one.op in ("call", "conditional"):
            parts = [_turn(program, called) for called in _called(one)]
            turn = turn.plus(max((part[0] for part in parts), key=lambda t: t.moved, default=_Turn()))
            turn = turn._replace(branches=turn.branches + (one.op == "conditional"))
            inner += [found for part in parts for found in part[1]]
        else:
            turn = turn.plus(_work(program, computation, one))
    return turn, inner


def _called(one: _Instruction) -> list[str]:
    several = re.search(r"branch_computations=\{([^}]*)\}", one.rest)
    if several:
        return re.findall(r"%?([\w.\-]+)", several[1])
    return [name for key in ("to_apply", "true_computation", "false_computation") if (name := one.named(key))]


def _turns(program: _Program, computation: _Computation, loop: _Instruction) -> int | None:
    """As the compiler writes them down; else those of a counter that goes from one constant to another."""
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
        return int(known[1])
    asked = program.computations[loop.named("condition")]
    test = next(one for one in asked.values() if one.root)
    if test.op != "compare" or test.named("direction") != "LT":
        return None
    (counter, end), start = (asked[name] for name in test.operands), computation[loop.operands[0]]
    if counter.op != "get-tuple-element" or end.op != "constant" or start.op != "tuple":
        return None
    first = computation[start.operands[int(counter.named("index"))]]
    while first.op in ("copy", "bitcast"):
        first = computation[first.operands[0]]
    return int(end.literal) - int(first.literal) if first.op == "constant" else None


def _work(program: _Program, computation: _Computation, one: _Instruction) -> _Turn:
    """Of one instruction."""
    if one.op in NOTHING or one.named("custom_call_target") in UNPAID or one.op.endswith("-update"):
        return _Turn()
    # A TPU has a unit of its own for whole numbers by the way, whose shapes have tiles.
    if one.op != "fusion" and re.fullmatch(r"\w+\[\]\{:T\(.*\)\}", one.shape):
        return _Turn()
    if one.op.endswith("-done"):
        return _Turn(moved=_bytes(one.shape))
    read = sum(_read(program, computation, one, name) for name in dict.fromkeys(one.operands))
    if one.op == "slice-start" and read:
        return _Turn(moved=_size(list(ARRAY.finditer(one.shape))[1], everywhere=True))
    if one.op.endswith("-start"):
        # Transfers between the memories of a TPU go on beside its kernels.
        return _Turn(kernels=int(one.op not in ("copy-start", "slice-start")), moved=read)
    written = _written(program, computation, one)
    inside = program.computations.get(one.named("calls"), {}).values() if one.op == "fusion" else (one,)
    sources = [_bytes(computation[name].shape) for name in one.operands if name in computation]
    copies = {i.op for i in inside} <= REARRANGES and any(sources)
    return _Turn(1, read + written, written if copies else 0)


def _read(program: _Program, computation: _Computation, one: _Instruction, name: str) -> int:
    """Bytes that an instruction reads of one of its operands."""
    if name not in computation or not (whole := _bytes(computation[name].shape)):
        return 0
    return min(whole, _used(program, computation, one, name, whole))


def _used(program: _Program, computation: _Computation, user: _Instruction, name: str, whole: int) -> int:
    if user.op in ("slice", "dynamic-slice") or (user.op == "gather" and user.operands[0] == name):
        return _bytes(user.shape, everywhere=True)
    if user.op == "dynamic-update-slice" and user.operands[0] == name:
        return 0
    if user.op == "fusion":
        inside = program.computations[user.named("calls")]
        places = {str(i) for i, operand in enumerate(user.operands) if operand == name}
        own = [one for one in inside.values() if one.op == "parameter" and one.literal in places]
        return sum(_used_within(program, inside, one, whole) for one in own)
    return whole


def _used_within(program: _Program, inside: _Computation, one: _Instruction, whole: int) -> int:
    if one.root:
        return whole
    users = [user for user in inside.values() if one.name in user.operands]
    through = (_used_within if user.op == "bitcast" else None for user in users)
    return sum(
        again(program, inside, user, whole) if again else _used(program, inside, user, one.name, whole)
        for user, again in zip(users, through, strict=True)
    )


def _written(program: _Program, computation: _Computation, one: _Instruction) -> int:
    if one.op == "dynamic-update-slice":
        return _bytes(computation[one.operands[1]].shape)
    arrays = list(ARRAY.finditer(one.shape))
    inside = program.computations.get(one.named("calls"), {}) if one.op == "fusion" else {}
    root = next((i for i in inside.values() if i.root), None)
    parts = [] if root is None else [inside[name] for name in root.operands] if root.op == "tuple" else [root]
    if len(parts) != len(arrays):  # a reduction of several arrays at once has a tuple of its own
        return sum(map(_size, arrays))
    total = 0
    for part, array in zip(parts, arrays, strict=True):
        while part.op == "bitcast":
            part = inside[part.operands[0]]
        in_place = part.op == "dynamic-update-slice" and _size(array) > 0
        total += _bytes(inside[part.operands[1]].shape, everywhere=True) if in_place else _size(array)
    return total


def _bytes(shape: str, everywhere: bool = False) -> int:
    return sum(_size(array, everywhere) for array in ARRAY.finditer(shape))


def _size(array: re.Match[str], everywhere: bool = False) -> int:
    """Bytes of one array, where it is in main memory."""
    kind, axes, order, layout = array[1], array[2], array[3], array[4] or ""
    if re.search(r"S\([1-9]", layout) and not everywhere:
        return 0
    lengths = [int(n) for n in axes.split(",") if n]
    if order:
        lengths = [lengths[int(axis)] for axis in order.split(",")]
    tile = re.match(r"T\(([\d,]*)\)", layout)
    for axis, step in enumerate(reversed([int(n) for n in tile[1].split(",")]) if tile else ()):
        if axis < len(lengths):
            lengths[axis] += -lengths[axis] % step
    bits = BITS.search(kind)
    return prod(lengths) * (max(1, int(bits[0]) // 8) if bits else kind == "pred")


def _parsed(text: str) -> _Program:
    tables: dict[str, dict[str, str]] = {}
    computations: dict[str, _Computation] = {}
    entry, table, now = "", {}, {}
    for line in text.splitlines():
        if line in TABLES:
            table = tables.setdefault(line, {})
        elif row := ROW.match(line):
            table[row[1]] = row[2] or row[3] or ""
        elif head := HEAD.match(line):
            now = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif match := LINE.match(line):
            now[match[2]] = _instruction(match[2], match[3], bool(match[1]))
    return _Program(computations, entry, _functions(tables))


def _instruction(name: str, code: str, root: bool) -> _Instruction:
    at = _closed(code, 0, " ")
    shape, call = code[:at], code[at + 1 :]
    begin = call.index("(")
    end = _closed(call, begin + 1, ")")
    inside = call[begin + 1 : end]
    return _Instruction(
        name, call[:begin], shape, tuple(re.findall(r"%([\w.\-]+)", inside)), inside, call[end + 1 :], root
    )


def _closed(code: str, start: int, sign: str) -> int:
    """Where this sign comes first from `start` on, outside all brackets."""
    depth = 0
    for i in range(start, len(code)):
        if depth == 0 and code[i] == sign:
            return i
        depth += (code[i] in "([{") - (code[i] in ")]}")
    return len(code)


def _functions(tables: dict[str, dict[str, str]]) -> dict[str, str]:
    """Frame → the innermost function, with its file: `_steps.counted.around`."""
    files, names, places, frames = (tables.get(name, {}) for name in TABLES)
    found = {}
    for frame, text in frames.items():
        place = places.get(_number("file_location_id", text), "")
        file = files.get(_number("file_name_id", place), "").rpartition("/")[2].removesuffix(".py")
        function = names.get(_number("function_name_id", place), "").replace(".<locals>", "")
        found[frame] = f"{file}.{function}"
    return found


def _number(key: str, text: str) -> str:
    match = re.search(rf"{key}=(\d+)", text)
    return match[1] if match else ""
