"""The house stands as it is drawn: every rule holds in the repository, and every rule can see.

The second half plants one violation at a time into the repository's own source and demands that the rule finds
it, in that file and nowhere else; the innocent neighbours of each violation must pass.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests import architecture as house

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("jaxlimit", "tests", "benchmarks", "docs", ".ci")
SUFFIXES = {".py", ".md", ".toml", ".cff", ".yml", ".typed"}
PLAIN = {"run", "LICENSE", ".gitignore"}


def repository():
    """Every text of the repository, by its path from the root."""
    files = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*")] + list(ROOT.iterdir())
    texts = [p for p in files if p.is_file() and (p.suffix in SUFFIXES or p.name in PLAIN)]
    return {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in texts}


TREE = repository()


@cache
def findings(rule):
    """What the rule finds in the repository as it is."""
    return frozenset(rule(TREE))


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds_in_the_repository(rule):
    found = sorted(findings(rule))
    assert not found, "\n" + "\n".join(found)


def test_the_tree_under_test_is_the_whole_repository():
    rooms = {room for _, room, _ in house.modules(TREE)}
    assert {"activations", "kernels", "problem", "simulation", "limits", "statistics", "studies", "plots"} <= rooms
    assert {"tests/test_architecture.py", "docs/references.md", "pyproject.toml", ".ci/run"} <= TREE.keys()


DOC = '"""Doc."""\n'
HOME = "/" + "home/"  # spelt in two parts, or this file would break the rule it tests

PLANTS = [
    # the import rule
    (house.import_rule, "simulation/_p.py", "from jaxlimit.limits import SpectralLimit"),
    (house.import_rule, "limits/_p.py", "from jaxlimit import simulation"),
    (house.import_rule, "limits/_p.py", "def f():\n    import jaxlimit.simulation"),
    (house.import_rule, "kernels/_p.py", "from jaxlimit.problem import Problem"),
    (house.import_rule, "problem.py", "from jaxlimit.kernels import gram"),
    (house.import_rule, "activations/_p.py", "from ..networks import Shallow"),
    (house.import_rule, "paths.py", "from jaxlimit.claims import Claim"),
    (house.import_rule, "statistics/_p.py", "from jaxlimit.problem import Problem"),
    (house.import_rule, "sweeps/_p.py", "from jaxlimit.paths import Samples"),
    (house.import_rule, "_typing.py", "from jaxlimit._arguments import require"),
    (house.import_rule, "_numerics.py", "from jaxlimit._lanes import crew"),
    (house.import_rule, "studies/_p.py", "from jaxlimit.cli import main"),
    (house.import_rule, "__init__.py", "from jaxlimit import cli as cli"),
    (house.import_rule, "studies/_p.py", "import importlib\nimportlib.import_module('jaxlimit.cli')"),
    (house.import_rule, "studies/_p.py", "from jaxlimit import Problem"),
    (house.import_rule, "studies/_p.py", "import jaxlimit as jl"),
    (house.import_rule, "limits/_p.py", "from jaxlimit.kernels._gram import gram"),
    (house.import_rule, "attic.py", "x = 1"),
    # one home per heavy package
    (house.one_home, "studies/_p.py", "import diffrax"),
    (house.one_home, "limits/_p.py", "from optax import sgd"),
    (house.one_home, "report.py", "def f():\n    from matplotlib import pyplot"),
    (house.one_home, "studies/_p.py", "import xarray as xr"),
    (house.one_home, "paths.py", "import zarr"),
    (house.one_home, "simulation/_p.py", "import sklearn.datasets"),
    (house.one_home, "studies/_p.py", "import rich.table, cyclopts"),
    (house.one_home, "report.py", "import importlib\nimportlib.import_module('matplotlib.pyplot')"),
    (house.one_home, "statistics/_p.py", "import pandas"),
    # abstract or final
    (house.abstract_or_final, "losses.py", "class Base: pass\nclass Derived(Base): pass"),
    (
        house.abstract_or_final,
        "activations/_p.py",
        "from jaxlimit.activations import Erf as E\nclass Steep(E): pass",
    ),
    (house.abstract_or_final, "networks/_p.py", "from jaxlimit import activations as a\nclass Steep(a.Erf): pass"),
    (house.abstract_or_final, "losses.py", "class AbstractNothing: pass"),
    (
        house.abstract_or_final,
        "losses.py",
        "from abc import abstractmethod\nclass Half:\n    @abstractmethod\n    def f(self): ...",
    ),
    # length
    (house.short_files, "long.py", "x = 1\n" * 401),
    # public JAX
    (house.public_jax, "simulation/_p.py", "from jax._src import core"),
    (house.public_jax, "simulation/_p.py", "import jax.core"),
    (house.public_jax, "simulation/_p.py", "from jax.interpreters import ad"),
    (house.public_jax, "simulation/_p.py", "import jax\ny = jax.util.safe_map"),
    (house.public_jax, "simulation/_p.py", "from jax.experimental import ode"),
    (house.public_jax, "simulation/_p.py", "import jax as j\ny = j.pmap(abs)"),
    (house.public_jax, "simulation/_p.py", "from jax import numpy as jnp\ny = jnp._private"),
    # configuration
    (house.no_configuration, "simulation/_p.py", "import jax\njax.config.update('jax_enable_x64', True)"),
    (house.no_configuration, "simulation/_p.py", "from jax import config as c\nc.update('jax_enable_x64', True)"),
    (house.no_configuration, "simulation/_p.py", "import jax\njax.config.jax_enable_x64 = True"),
    (house.no_configuration, "simulation/_p.py", "import jax\nsetattr(jax.config, 'jax_enable_x64', True)"),
    (house.no_configuration, "simulation/_p.py", "import os\nos.environ['XLA_FLAGS'] = ''"),
    (house.no_configuration, "simulation/_p.py", "from os import environ\nenviron.setdefault('JAX_ENABLE_X64', '1')"),
    (house.no_configuration, "simulation/_p.py", "import jax\nwith jax.enable_x64():\n    pass"),
    # docstrings
    (house.documented, "kernels/_p.py", "def f():\n    pass"),
    (house.documented, "kernels/_p.py", "class C:\n    pass"),
    (house.documented, "kernels/_p.py", 'class C:\n    """Doc."""\n    def m(self):\n        pass'),
    (house.documented, "kernels/_p.py", "if True:\n    def f():\n        pass"),
    # references
    (house.known_references, "kernels/_p.py", 'def f():\n    """Doc (references: nobody2020)."""'),
    (
        house.known_references,
        "kernels/_p.py",
        'def f():\n    """Doc. Source:\n    references `xavier`, `nobody2020`."""',
    ),
    (house.known_references, "kernels/_p.py", 'def f():\n    """Doc (references:\n    nobody2020)."""'),
    # drawers
    (house.no_drawers, "simulation/_utils.py", "x = 1"),
    (house.no_drawers, "simulation/_p.py", "def f(a, **options):\n    return g(a, **options)"),
    (house.no_drawers, "simulation/_p.py", "class C:\n    def __init__(self, **options):\n        pass"),
    # machine paths
    (house.no_machine_paths, "data.py", f"where = '{HOME}somebody/data.csv'"),
    (house.no_machine_paths, "data.py", "where = r'" + "C:" + "\\" + "data.csv'"),
]


@pytest.mark.parametrize(("rule", "path", "code"), PLANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_violation_is_found(rule, path, code):
    path = f"jaxlimit/{path}"
    text = TREE.get(path, DOC) + "\n" + code + "\n"
    fresh = set(rule({**TREE, path: text})) - findings(rule)
    assert fresh, "the rule is blind to this"
    assert all(finding.startswith(f"{path}:") for finding in fresh), fresh


INNOCENT = {
    "jaxlimit/_numerics.py": "from jaxlimit._typing import Host\nfrom jaxlimit._arguments import require",
    "jaxlimit/problem.py": "from jaxlimit.networks import AbstractNetwork\nfrom jaxlimit.data import Data",
    "jaxlimit/networks/_p.py": "from jaxlimit.networks._base import AbstractNetwork\nfrom jaxlimit import activations",
    "jaxlimit/limits/_p.py": "def _f():\n    import diffrax\n    from jaxlimit.kernels import gram",
    "jaxlimit/studies/_p.py": "def _f():\n    from jaxlimit import plots\n    import json, jax, numpy.linalg",
    "jaxlimit/sweeps/__init__.py": "import zarr\nfrom jaxlimit._arguments import require",
    "jaxlimit/cli.py": "import cyclopts, jax, jaxlimit\njax.config.update('jax_enable_x64', True)",
    "jaxlimit/__main__.py": "from jaxlimit.cli import main",
    "jaxlimit/losses.py": "class _Own(ValueError): pass\nclass _Finer(_Own): pass",
    "jaxlimit/kernels/_p.py": 'def f(*rows):\n    """Doc. Source: references `xavier`."""\n    def inner(): pass',
    "jaxlimit/simulation/_p.py": "import jax, os\nx = jax.config.jax_enable_x64, os.environ['PATH'], jax.__version__",
    "docs/index.md": "See a/home/b, /usr/bin/env and <https://example.org/home/page>.",
}


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_what_the_rules_allow_is_not_found(rule):
    allowed = {path: TREE.get(path, DOC) + "\n" + code + "\n" for path, code in INNOCENT.items()}
    assert not set(rule({**TREE, **allowed})) - findings(rule)


HEAVY = ("matplotlib", "sklearn", "cyclopts", "rich", "zarr", "xarray", "pandas")
PROBE = """
import json, sys
import jax
before = dict(jax.config.values)
{code}
after = dict(jax.config.values)
changed = sorted(name for name in after if after[name] != before.get(name, after[name]))
print(json.dumps([[name for name in {heavy} if name in sys.modules], changed]))
"""


def what_it_costs(code):
    """(heavy packages imported, JAX settings changed) by the code, in a fresh interpreter that sees no JAX settings.

    A setting of conftest.py, inherited, would hide the package setting the same.
    """
    program = [sys.executable, "-c", PROBE.format(code=code, heavy=HEAVY)]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("JAX_") or key == "JAX_PLATFORMS"}
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, cwd=ROOT, env=plain)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_package_imports_nothing_heavy_and_sets_nothing():
    assert what_it_costs("import jaxlimit") == [[], []]


def test_the_probe_sees_a_heavy_import_and_a_changed_setting():
    code = "import rich\njax.config.update('jax_enable_x64', True)"
    assert what_it_costs(code) == [["rich"], ["jax_enable_x64"]]
