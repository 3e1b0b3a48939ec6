"""A program for `mpiexec -n 3 python -m mpi4py.futures mpi_script.py STORE`: two workers and their head."""

import sys

from tests.sweeps import runner, work

if __name__ == "__main__":
    with runner.sweeps.mpi() as executor:
        store = runner.sweeps.Store.open(sys.argv[1])
        print(runner.sweeps.run(store, work.numbers, executor=executor))
