"""Sweeps that survive: grids of Monte Carlo in immutable blocks, computed anywhere, resumed bit for bit.

This room knows nothing of networks: work is a function from plain settings and a range of replicas to arrays.
`jaxlimit.studies` has the function that simulates.
"""

from jaxlimit.sweeps._blocks import Blocks as Blocks
from jaxlimit.sweeps._blocks import identity as identity
from jaxlimit.sweeps._canonical import canonical as canonical
from jaxlimit.sweeps._canonical import digest as digest
from jaxlimit.sweeps._checkpoint import BlockCheckpoint as BlockCheckpoint
from jaxlimit.sweeps._consolidate import consolidate as consolidate
from jaxlimit.sweeps._consolidate import dataset as dataset
from jaxlimit.sweeps._consolidate import export as export
from jaxlimit.sweeps._engine import Moment as Moment
from jaxlimit.sweeps._engine import Ran as Ran
from jaxlimit.sweeps._engine import SweepError as SweepError
from jaxlimit.sweeps._engine import run as run
from jaxlimit.sweeps._executors import dask as dask
from jaxlimit.sweeps._executors import mpi as mpi
from jaxlimit.sweeps._executors import processes as processes
from jaxlimit.sweeps._files import write_whole as write_whole
from jaxlimit.sweeps._format import DamagedError as DamagedError
from jaxlimit.sweeps._format import read as read
from jaxlimit.sweeps._journal import Journal as Journal
from jaxlimit.sweeps._journal import environments as environments
from jaxlimit.sweeps._journal import provenance as provenance
from jaxlimit.sweeps._slurm import slurm as slurm
from jaxlimit.sweeps._spec import Cell as Cell
from jaxlimit.sweeps._spec import Job as Job
from jaxlimit.sweeps._spec import SweepSpec as SweepSpec
from jaxlimit.sweeps._store import Progressed as Progressed
from jaxlimit.sweeps._store import Store as Store
from jaxlimit.sweeps._verify import verify as verify
