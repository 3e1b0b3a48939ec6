"""What a program becomes for accelerators that are not here, and what in it does not belong there.

Nothing is compiled and nothing runs: `jax.export` writes down the program that XLA would be given on a machine with the
device, and its text says in which precision it computes, what it calls, and whom it talks to.
"""

import re

import jax
import numpy as np
from jax import export

PLATFORMS = ("cuda", "tpu")

DEVICE_SIDE = {
    "cusolver_syevd_ffi": "eigenvalues by cuSOLVER",
    "Eigh": "eigenvalues by the compiler for TPUs",
    "cusolver_getrf_ffi": "LU factors by cuSOLVER, for implicit solvers of differential equations",
    "cu_lu_pivots_to_permutation": "their pivots as a permutation, by a kernel of jaxlib",
    "LuDecomposition": "LU factors by the compiler for TPUs",
}
"""Calls of what is not written out in the program and runs on the device all the same."""

HOST = {"infeed", "outfeed", "send", "recv"}
DEVICES = {
    "all_gather",
    "all_reduce",
    "all_to_all",
    "collective_broadcast",
    "collective_permute",
    "partition_id",
    "reduce_scatter",
    "replica_id",
}
PRODUCTS = {"dot", "dot_general", "convolution"}
CARRIERS = {"constant", "call", "func", "return", "while", "case", "if"}
"""Operations that compute nothing."""

LOCATION = re.compile(r" loc\((?:[^()]|\([^()]*\))*\)")
OPERATION = re.compile(r'(?<![\w.@#])(?:"?(?:stablehlo|chlo)\.(\w+)|(?:func\.)?(call|func|return)\b)')
CALLED = re.compile(r'custom_call"?\s*@?"?([\w.]+)')
EXACT = re.compile(r"precision = \[HIGHEST, HIGHEST\]|precision HIGHEST>, #stablehlo<precision HIGHEST>")
FLOATS = re.compile(r"tensor<[\dx?]*(?:b?f16|f32|f64)>")
DOUBLES = re.compile(r"tensor<([\dx?]*)(?:complex<)?f64\b")
LONGS = re.compile(r"tensor<[\dx?]+xi64>")
LITERALS = re.compile(r"\{[^{}]*\}|dense<[^>]*> : tensor<[^>]*>")
CONDITION = re.compile(r"stablehlo\.compare \w+, %\w+, (%\w+),.* : \(tensor<[\dx?]*(\w+)>")


def exported(function, *args):
    """The text of the program for every platform, as a dictionary."""
    jitted = jax.jit(function)
    return {name: str(export.export(jitted, platforms=(name,))(*args).mlir_module()) for name in PLATFORMS}


def foreign(function, dtype, *args):
    """The findings on every platform; that a program cannot be written down for one is a finding too."""
    jitted, found = jax.jit(function), []
    jitted.trace(*args)  # what is wrong with the function itself is an error, and no finding
    for name in PLATFORMS:
        try:
            program = export.export(jitted, platforms=(name,))(*args)
        except (ValueError, NotImplementedError) as refusal:
            found.append(f"{name}: is refused: {refusal}")
        else:
            found += [f"{name}: {finding}" for finding in findings(str(program.mlir_module()), dtype)]
    return found


def findings(text, dtype):
    """What is wrong with a program that should compute in `dtype`, on one device and there alone.

    With the x64 flag a number of Python reaches a function of JAX as a float64 constant, out of which a number of the
    program's precision is made before anything is computed: such constants pass, and nothing else of float64 does in
    a float32 program. Arrays of signed 64-bit integers are ours, and not wanted: TPUs have none. JAX itself numbers
    random bits by unsigned ones.
    """
    found = []
    for line in text.splitlines():
        code = LOCATION.sub("", line).strip()
        match = OPERATION.search(code)
        if match is None:
            continue
        name = match[1] or match[2]
        if name == "custom_call" and (called := CALLED.search(code)[1]) not in DEVICE_SIDE:
            found.append(f"calls {called}")
        elif name in HOST:
            found.append(f"talks to the host: {name}")
        elif name in DEVICES:
            found.append(f"talks to other devices: {name}")
        elif name in PRODUCTS and FLOATS.search(code.split("->")[-1]) and not EXACT.search(code):
            found.append(f"short products: {code}")
        if np.dtype(dtype) == np.float32 and (doing := _in_float64(name, code)):
            found.append(f"{doing} float64: {code}")
        if name != "constant" and LONGS.search(LITERALS.sub("", code)):
            found.append(f"int64: {code}")
    return list(dict.fromkeys(found))


def counters(text):
    """What the loops of a program count in, where their ends are data, and where they are constants.

    TPUs emulate integers of 64 bits. With the x64 flag a scan of JAX counts in them to its length.
    """
    ends, lengths = [], []
    for loop in re.split(r"stablehlo\.while\b", text)[1:]:
        bound, kind = CONDITION.search(loop).groups()
        (lengths if bound.startswith("%c") else ends).append(kind)
    return ends, lengths


def _in_float64(name, code):
    """What a line does with float64: "computes in", "carries" it, or None."""
    shapes = DOUBLES.findall(code)
    results = DOUBLES.findall(code.split("->")[-1]) if "->" in code else []
    if not shapes:
        return None
    if name == "convert":
        return "computes in" if results else ("carries" if any(shapes) else None)
    if name not in CARRIERS:
        return "computes in"
    whole = name in ("constant", "call") or (name == "func" and "public" not in code)
    return None if whole and not any(shapes) and not results else "carries"
