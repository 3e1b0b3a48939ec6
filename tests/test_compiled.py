"""What the benchmark of compiled programs counts is there to be counted: every finding is planted by itself, and found.

The compilers of accelerators are not needed. Programs of accelerators are compiled for the CPU here, which has the same
loops, to see that the script still finds them in the package.
"""

import json
import os
import subprocess
import textwrap

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import SingleDeviceSharding

from benchmarks import compiled as script
from benchmarks._hlo import Foreign, Loop, foreign, loops
from jaxlimit.simulation._lane import Programs, constants, lane_keys, shared
from jaxlimit.simulation._pieces import pieces
from tests.lane_program import Accelerator

STATE = 64 * 4096 * 4
"""Bytes of the array that the planted loops change."""

PROGRAM = """
HloModule planted, is_scheduled=true

FileNames
1 "somewhere/else/_walk.py"
2 "somewhere/else/_other.py"

FunctionNames
1 "outer"
2 "outer.<locals>.inner"

FileLocations
1 {{file_name_id=2 function_name_id=1 line=3 end_line=3 column=1 end_column=2}}
2 {{file_name_id=1 function_name_id=2 line=5 end_line=5 column=1 end_column=2}}

StackFrames
1 {{file_location_id=1 parent_frame_id=1}}
2 {{file_location_id=2 parent_frame_id=2}}

%twice (p: f32[64,4096]) -> f32[64,4096] {{
  %p = f32[64,4096]{{1,0}} parameter(0)
  ROOT %sum = f32[64,4096]{{1,0}} add(%p, %p)
}}

%turned (p: f32[64,4096]) -> f32[4096,64] {{
  %p = f32[64,4096]{{1,0}} parameter(0)
  ROOT %t = f32[4096,64]{{1,0}} transpose(%p), dimensions={{1,0}}
}}

%part (p: f32[64,4096], i: s32[]) -> f32[64,1] {{
  %p = f32[64,4096]{{1,0}} parameter(0)
  %i = s32[] parameter(1)
  %flat = f32[64,4096]{{1,0}} bitcast(%p)
  %zero = s32[] constant(0)
  %column = f32[64,1]{{1,0}} dynamic-slice(%flat, %zero, %i), dynamic_slice_sizes={{64,1}}
  ROOT %minus = f32[64,1]{{1,0}} negate(%column)
}}

%placed (p: f32[64,4096], row: f32[1,4096], i: s32[]) -> f32[64,4096] {{
  %p = f32[64,4096]{{1,0}} parameter(0)
  %row = f32[1,4096]{{1,0}} parameter(1)
  %i = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %all = f32[64,4096]{{1,0}} dynamic-update-slice(%p, %row, %i, %zero)
}}

%test (state: (s32[], f32[64,4096])) -> pred[] {{
  %state = (s32[], f32[64,4096]{{1,0}}) parameter(0)
  %k = s32[] get-tuple-element(%state), index=0
  %last = s32[] {last}
  ROOT %less = pred[] compare(%k, %last), direction=LT
}}

%body (state: (s32[], f32[64,4096])) -> (s32[], f32[64,4096]) {{
  %state = (s32[], f32[64,4096]{{1,0}}) parameter(0)
  %k = s32[] get-tuple-element(%state), index=0
  %w = f32[64,4096]{{1,0}} get-tuple-element(%state), index=1
{body}
  ROOT %next = (s32[], f32[64,4096]{{1,0}}) tuple(%k, %w)
}}

ENTRY %main (w: f32[64,4096], n: s32[]) -> f32[64,4096] {{
  %w = f32[64,4096]{{1,0}} parameter(0)
  %n = s32[] parameter(1)
  %whole = f32[64,4096]{{1,0}} copy(%w)
  %first = s32[] constant(8)
  %from = s32[] copy(%first)
  %start = (s32[], f32[64,4096]{{1,0}}) tuple({counter}, %whole)
  %loop = (s32[], f32[64,4096]{{1,0}}) while(%start), condition=%test, body=%body, metadata={{stack_frame_id=2}}{known}
  ROOT %end = f32[64,4096]{{1,0}} get-tuple-element(%loop), index=1
}}
"""


def program(*body, last="constant(40)", counter="%from", known=""):
    lines = textwrap.indent("\n".join(body), "  ")
    return PROGRAM.format(body=lines, last=last, counter=counter, known=known).strip()


def turn(*body, **settings):
    """The loop of a program, and what its turn is made of."""
    whole, loop = loops(program(*body, **settings))
    assert whole == Loop(0, "", 1, kernels=2, moved=2 * STATE + 8, copied=STATE + 4, branches=0)
    assert (loop.depth, loop.function) == (1, "_walk.outer.inner")
    return loop


def test_turns_are_known_where_the_compiler_says_so_or_a_counter_goes_from_one_constant_to_another():
    data, said = "get-tuple-element(%state), index=0", ', backend_config={"known_trip_count":{"n":"5"}}'
    assert turn(last=data, known=said).turns == 5
    assert turn(last=data).turns is None
    assert turn().turns == 40 - 8
    assert turn(counter="%n").turns is None


def test_what_asks_whether_there_is_another_turn_is_a_kernel_of_the_turn_where_their_number_is_data():
    assert turn().kernels == 0
    assert turn(counter="%n").kernels == 1


FUSED = "%{0} = f32[64,4096]{{1,0}} fusion(%w), kind=kLoop, calls=%{0}"
KERNELS = {
    "a kernel": ((FUSED.format("twice"),), 1, 2 * STATE, 0),
    "two": ((FUSED.format("twice"), "%more = f32[64,4096]{1,0} fusion(%twice), calls=%twice"), 2, 4 * STATE, 0),
    "a copy": (("%c = f32[64,4096]{1,0} copy(%w)",), 1, 2 * STATE, STATE),
    "a transposition": (("%c = f32[4096,64]{1,0} fusion(%w), kind=kLoop, calls=%turned",), 1, 2 * STATE, STATE),
    "a slice": (("%c = f32[64,1]{1,0} fusion(%w, %k), kind=kLoop, calls=%part",), 1, 2 * 64 * 4 + 4, 0),
    "an update in place": (
        (
            "%row = f32[1,4096]{1,0} constant({...})",
            "%c = f32[64,4096]{1,0} fusion(%w, %row, %k), kind=kLoop, calls=%placed",
        ),
        1,
        2 * 4096 * 4 + 4,
        0,
    ),
    "tiles that are filled up": (
        ("%a = f32[3,5]{1,0:T(8,128)} constant({...})", "%b = f32[3,5]{1,0:T(8,128)} negate(%a)"),
        1,
        2 * 8 * 128 * 4,
        0,
    ),
    "tiles across": (
        ("%a = f32[3,200]{0,1:T(8,128)} constant({...})", "%b = f32[3,200]{0,1:T(8,128)} negate(%a)"),
        1,
        2 * 128 * 200 * 4,
        0,
    ),
    "a transfer to the chip": (
        (
            "%s = (f32[64,4096]{1,0:S(1)}, f32[64,4096]{1,0}, u32[]{:S(2)}) copy-start(%w)",
            "%d = f32[64,4096]{1,0:S(1)} copy-done(%s)",
        ),
        0,
        STATE,
        0,
    ),
    "a transfer from the chip": (
        (
            "%a = f32[64,4096]{1,0:S(1)} constant({...})",
            "%s = (f32[64,4096]{1,0}, f32[64,4096]{1,0:S(1)}, u32[]{:S(2)}) copy-start(%a)",
            "%d = f32[64,4096]{1,0} copy-done(%s)",
        ),
        0,
        STATE,
        0,
    ),
    "a part of it to the chip": (
        (
            "%s = ((f32[64,4096]{1,0}), f32[16,4096]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%w), slice={[0:16]}",
            "%d = f32[16,4096]{1,0:S(1)} slice-done(%s)",
        ),
        0,
        STATE // 4,
        0,
    ),
    "work on the chip": (
        ("%a = f32[64,4096]{1,0:S(1)} constant({...})", "%b = f32[64,4096]{1,0:S(1)} negate(%a)"),
        1,
        0,
        0,
    ),
    "a whole number of a TPU": (("%a = s32[]{:T(128)} add(%k, %k)",), 0, 0, 0),
    "nothing": (("%a = f32[4096,64]{1,0} bitcast(%w)", "%b = (f32[4096,64]{1,0}) tuple(%a)"), 0, 0, 0),
}


@pytest.mark.parametrize("case", KERNELS)
def test_kernels_and_the_bytes_they_move_and_copy_are_counted(case):
    body, kernels, moved, copied = KERNELS[case]
    found = turn(*body)
    assert (found.kernels, found.moved, found.copied) == (kernels, moved, copied)


def test_of_branches_chosen_by_data_the_dearest_counts():
    for branches in ("%part, %twice", "%twice, %part"):
        found = turn(f"%c = f32[64,4096]{{1,0}} conditional(%k, %w, %w), branch_computations={{{branches}}}")
        assert (found.branches, found.kernels, found.moved) == (1, 1, 2 * STATE)


def test_loops_within_loops_are_loops_of_their_own():
    inside = "%again = (s32[], f32[64,4096]{1,0}) while(%state), condition=%test, body=%within"
    within = "%within (s: (s32[], f32[64,4096])) -> f32[64,4096] {\n  %s = f32[64,4096]{1,0} parameter(0)\n"
    within += "  ROOT %sum = f32[64,4096]{1,0} add(%s, %s)\n}\n\n"
    text = program("%c = f32[64,4096]{1,0} copy(%w)", inside, counter="%n").replace("%body (", within + "%body (", 1)
    _, outer, inner = loops(text)
    assert (outer.depth, outer.kernels, outer.copied) == (1, 2, STATE)
    assert (inner.depth, inner.kernels, inner.moved) == (2, 2, 2 * STATE + 9)


HIGHEST = "operand_precision={highest,highest}"
FOREIGN = {
    "%d = f32[64,64]{1,0} dot(%w, %w), lhs_contracting_dims={1}": Foreign(1, 0, 0),
    f"%d = f32[64,64]{{1,0}} dot(%w, %w), {HIGHEST}": Foreign(0, 0, 0),
    f"%d = f32[64,64]{{1,0}} convolution(%w, %w), {HIGHEST.replace('highest,', 'default,')}": Foreign(1, 0, 0),
    "%d = s32[64,64]{1,0} dot(%w, %w)": Foreign(0, 0, 0),
    f"%b = bf16[64,4096]{{1,0}} convert(%w)\n%d = f32[64,64]{{1,0}} dot(%b, %b), {HIGHEST}": Foreign(1, 0, 0),
    '%d = f32[64,64]{1,0} custom-call(%w, %w), custom_call_target="__cublas$gemm"': Foreign(1, 0, 0),
    '%d = f32[64,64]{1,0} custom-call(%w, %w), custom_call_target="__cublas$gemm", backend_config='
    '{"precision_config":{"operand_precision":["HIGHEST","HIGHEST"]}}': Foreign(0, 0, 0),
    "%d = f64[64,4096]{1,0} convert(%w)": Foreign(0, 1, 0),
    "%d = c128[] constant((0, 0))": Foreign(0, 1, 0),
    '%d = () custom-call(%w), custom_call_target="xla_ffi_python_gpu_callback"': Foreign(0, 0, 1),
    "%d = (f32[4]{0}, u32[], token[]) send(%w, %k), channel_id=1": Foreign(0, 0, 1),
    "%d = f32[64,4096]{1,0:S(5)} negate(%w)": Foreign(0, 0, 1),
    '%d = f32[64]{0} custom-call(%w), custom_call_target="cu_threefry2x32_ffi"': Foreign(0, 0, 0),
}


@pytest.mark.parametrize("line", FOREIGN)
def test_what_does_not_belong_on_a_device_is_found(line):
    assert foreign(program(*line.splitlines())) == FOREIGN[line]


def test_a_message_is_written_as_its_compiler_reads_it():
    fields = {"name": 'an "H"', "info": {"count": 132, "rate": 1.98, "inner": {"major": 9}}}
    assert script.protobuf(fields) == 'name: "an \\"H\\"" info { count: 132 rate: 1.98 inner { major: 9 } }'


def on_this_cpu(monkeypatch):
    """What is prepared for an accelerator is compiled for the device that is there."""
    here = SingleDeviceSharding(jax.devices()[0])
    monkeypatch.setattr(script, "SingleDeviceSharding", lambda device: here)
    target = script.Target(modules=("json",), packages="jax", environment=dict, device=Accelerator)
    monkeypatch.setattr(script, "TARGETS", {"none": target})


@pytest.mark.parametrize(("name", "turn"), [("Stepwise()", ("step", 32)), ("SStep()", ("block", "data"))])
def test_steps_and_blocks_are_found_in_the_programs_of_the_package(name, turn, monkeypatch):
    on_this_cpu(monkeypatch)
    found = script.compiled("none", name, 64)
    assert (found["turn"], found["turns"]) == turn
    assert found["passes"] >= 2.0
    assert found["kernels"] >= 1
    assert found["callbacks"] == found["short"] == 0
    assert 0.1 < found["foretold"] < 10.0


@pytest.mark.parametrize("name", ["Stepwise()", pytest.param("SStep()", marks=pytest.mark.slow)])
def test_what_is_compiled_without_a_device_is_what_a_run_compiles(name, monkeypatch):
    on_this_cpu(monkeypatch)
    given = script.run_on(script.CASES[name], 64, Accelerator())
    *_, last = script.programs_of(given, given.run.devices[0])
    programs, lanes = Programs(given, constants(given, jax.device_put(shared(given, None)))), given.chain.lanes
    keys, advance = lane_keys(given.key, jnp.arange(lanes, dtype=jnp.uint32)), given.chain.advance
    moving, fixed = programs.begun(keys, jnp.int32(lanes))
    (piece,) = pieces(given.steps, given.chain)
    function, first = getattr(advance, "func", advance), getattr(advance, "args", ())
    arguments = programs.arguments(keys, moving, fixed, jax.tree.map(jnp.asarray, piece))
    theirs = function.lower(*first, *arguments).compile().compiled
    ours = last.lower().compile()
    (mine, *inner), (other, *same) = loops(ours.as_text()), loops(theirs.as_text())
    assert inner == same
    assert abs(mine.moved - other.moved) <= 64, "more than a few numbers are sent or returned that a run does not need"
    assert ours.memory_analysis().argument_size_in_bytes == theirs.memory_analysis().argument_size_in_bytes


def test_without_compilers_the_quick_run_says_what_to_install(monkeypatch, capsys):
    nowhere = {name: target._replace(modules=("nothing.of_that_name",)) for name, target in script.TARGETS.items()}
    monkeypatch.setattr(script, "TARGETS", nowhere)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    script.main(quick=True)
    printed = capsys.readouterr().out
    assert "H100" in printed
    assert "not installed: pip install jax-cuda12-plugin jax-cuda12-pjrt nvidia-cuda-nvcc-cu12\n" in printed
    assert "not installed: pip install libtpu\n" in printed


FOUND = {"lanes": 4, "passes": 2.0, "short": 0, "loops": [{"depth": 0, "passes": 3.0}], "note": "as it should be"}


def children(monkeypatch, *ends):
    """Processes that end like this, one after the other, and how they were started."""
    on_this_cpu(monkeypatch)
    monkeypatch.setattr(script, "QUICK", tuple((f"case {i}", 64) for i in range(len(ends))))
    waiting, started = iter(ends), []

    def run(command, **settings):
        started.append((command, settings["env"]))
        return subprocess.CompletedProcess(command, *next(waiting))

    monkeypatch.setattr(subprocess, "run", run)
    return started


def test_a_compiler_that_crashes_is_a_row_and_stops_no_other_case(monkeypatch, tmp_path):
    said = "Traceback\njax.errors.JaxRuntimeError: {}: so much\nFor simplicity, JAX has removed frames.\n"
    children(
        monkeypatch,
        (-11, "", "some warning\n"),
        (1, "", said.format("INTERNAL")),
        (1, "", said.format("RESOURCE_EXHAUSTED")),
        (0, "hello\n" + json.dumps(FOUND) + "\n", ""),
    )
    with pytest.raises(RuntimeError, match=r"^2 failed:"):
        script.main(quick=True, file=tmp_path / "kept.json")
    tables = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))["tables"]
    notes = [row["note"] for row in tables["compiled, not run"]]
    ended = "RuntimeError: its process ended with"
    assert notes == [
        f"FAILED: {ended} -11: nothing was said",
        f"FAILED: {ended} 1: jax.errors.JaxRuntimeError: INTERNAL: so much",
        f"out of memory: {ended} 1: jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: so much",
        "as it should be",
    ]
    assert [row["method"] for row in tables["loops"]] == ["case 3"]


@pytest.mark.parametrize("what", ["short", "float64", "callbacks"])
def test_what_does_not_belong_on_a_device_ends_the_script_with_an_error(what, monkeypatch):
    children(monkeypatch, (0, json.dumps({**FOUND, what: 1}), ""), (0, json.dumps(FOUND), ""))
    with pytest.raises(RuntimeError, match=rf"(?s)^1 failed:.*case 0.*'{what}': 1"):
        script.main(quick=True)


def test_compilers_are_told_by_the_environment_of_their_process_alone(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--what_another_asked_for")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    before = dict(os.environ)
    started = children(monkeypatch, (0, json.dumps(FOUND), ""))
    script.main(quick=True)
    ((command, env),) = started
    assert command[1:] == ["-m", "benchmarks.compiled", "--target", "none", "--case", "case 0", "--width", "64"]
    assert env["JAX_PLATFORMS"] == "cpu"
    assert not {"XLA_FLAGS", "JAX_ENABLE_X64"} & env.keys()
    assert dict(os.environ) == before


def test_the_gpu_compiler_does_not_look_for_a_card(monkeypatch):
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    assert "--xla_gpu_autotune_level=0" in script.TARGETS["H100"].environment()["XLA_FLAGS"].split()
