"""What is installed is what is promised: versions agree, extras are what they are called, types travel along."""

import importlib
import importlib.metadata
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import jaxlimit

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]

REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[(?P<extras>[\w,-]+)\])?(?P<bounds>.*)$")
ACCELERATORS = ("cuda12", "cuda13", "tpu")


def name(requirement):
    """The distribution that a requirement asks for, in lower case."""
    return REQUIREMENT.match(requirement)["name"].lower()


def extras(requirement):
    """The extras that a requirement asks for."""
    return (REQUIREMENT.match(requirement)["extras"] or "").split(",") if "[" in requirement else []


def resolved(extra, table):
    """Every requirement that an extra leads to, extras of jaxlimit itself resolved."""
    found = []
    for requirement in table[extra]:
        if name(requirement) == "jaxlimit":
            found += [r for inner in extras(requirement) for r in resolved(inner, table)]
        else:
            found.append(requirement)
    return found


def capped(requirements):
    """The requirements that forbid a later version."""
    return [r for r in requirements if re.search(r"<|==|~=|!=", REQUIREMENT.match(r)["bounds"])]


def accelerated(requirements):
    """The requirements that bring JAX for an accelerator."""
    plugins = ("jax-cuda", "jax-rocm", "libtpu")
    return [r for r in requirements if name(r).startswith(plugins) or (name(r) == "jax" and extras(r))]


def stated_versions(package, citation, changelog):
    """The version that each of the three places states; the changelog's is its first heading with a number."""
    return (
        package,
        re.search(r"^version: *[\"']?([^\"'\s]+)", citation, flags=re.MULTILINE)[1],
        re.search(r"^## \[(\d[^\]]*)\]", changelog, flags=re.MULTILINE)[1],
    )


def test_package_citation_and_changelog_state_one_version():
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in ("CITATION.cff", "CHANGELOG.md")]
    assert len(set(stated_versions(jaxlimit.__version__, *texts))) == 1


def test_the_build_reads_the_version_from_the_package():
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "jaxlimit/__init__.py"


def test_the_core_dependencies_are_these():
    core = {"jax", "jaxlib", "equinox", "jaxtyping", "diffrax", "optax", "chex", "numpy", "scipy"}
    assert {name(r) for r in PROJECT["dependencies"]} == core


def test_no_requirement_has_an_upper_cap():
    assert capped(PROJECT["dependencies"] + [r for group in EXTRAS.values() for r in group]) == []
    assert "<" not in PROJECT["requires-python"]


def test_the_extras_are_these():
    assert set(EXTRAS) == {
        "cli",
        "plot",
        "data",
        "store",
        "dask",
        "slurm",
        "all",
        "numba",
        "test",
        "docs",
        *ACCELERATORS,
    }
    wanted = {
        "cli": {"cyclopts", "rich"},
        "plot": {"matplotlib"},
        "data": {"scikit-learn"},
        "store": {"zarr", "xarray", "netcdf4"},
        "numba": {"numba"},
    }
    assert {extra: {name(r) for r in EXTRAS[extra]} for extra in wanted} == wanted
    assert {name(r) for r in resolved("all", EXTRAS)} == set().union(*wanted.values())
    assert set(resolved("all", EXTRAS)) <= set(resolved("test", EXTRAS))


@pytest.mark.parametrize("extra", ["cli", "plot", "data", "store", "all", "numba", "test", "docs"])
def test_only_an_accelerator_extra_brings_an_accelerator(extra):
    assert accelerated(resolved(extra, EXTRAS)) == []


@pytest.mark.parametrize("extra", ACCELERATORS)
def test_an_accelerator_extra_is_jax_with_the_extra_of_that_name(extra):
    (requirement,) = EXTRAS[extra]
    assert (name(requirement), extras(requirement)) == ("jax", [extra])
    assert extra in importlib.metadata.metadata("jax").get_all("Provides-Extra")


def test_the_type_marker_is_in_the_package_and_in_the_wheel():
    assert files("jaxlimit").joinpath("py.typed").is_file()
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["jaxlimit"]}, "every file of the package, none left out"


def test_the_console_script_and_the_module_run_the_same_function():
    assert PROJECT["scripts"] == {"jaxlimit": "jaxlimit.cli:main"}
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="jaxlimit")
    assert script.value == "jaxlimit.cli:main"
    assert callable(script.load())
    assert "from jaxlimit.cli import main" in files("jaxlimit").joinpath("__main__.py").read_text(encoding="utf-8")


def test_the_installed_distribution_is_this_version_under_this_licence():
    metadata = importlib.metadata.metadata("jaxlimit")
    assert metadata["Version"] == jaxlimit.__version__
    assert PROJECT["license"] == "Apache-2.0"
    assert "\nlicense: Apache-2.0\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_licence_is_complete_and_its_appendix_untouched():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Copyright [yyyy] [name of copyright owner]" in text


def test_the_checks_of_this_file_can_fail():
    assert capped(["numpy>=2,<3", "jax==0.10", "scipy>=1"]) == ["numpy>=2,<3", "jax==0.10"]
    assert accelerated(["jax[cuda12]>=0.10", "jax>=0.10", "libtpu"]) == ["jax[cuda12]>=0.10", "libtpu"]
    planted = {"all": ["jaxlimit[cli,cuda12]"], "cli": ["rich"], "cuda12": ["jax[cuda12]>=0.10"]}
    assert accelerated(resolved("all", planted)) == ["jax[cuda12]>=0.10"]
    states = stated_versions("1.0", "cff-version: 1.2.0\nversion: 1.1\n", "## [Unreleased]\n\n## [1.2]\n")
    assert states == ("1.0", "1.1", "1.2")
