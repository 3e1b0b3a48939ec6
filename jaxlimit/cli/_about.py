"""``jaxlimit list``."""

import rich.console
import rich.table

from jaxlimit.cli._app import app


@app.command(name="list")
def list_studies() -> int:
    """List the studies that `jaxlimit run` knows."""
    table = rich.table.Table("study", "theorem", "source", box=None)
    table.add_row(
        "xavier", "networks with 1/√N converge to a random linear ODE with a positive definite kernel", "1907.04108"
    )
    table.add_row(
        "mean_field", "networks with 1/N follow a moving law of neurons, with Gaussian fluctuations", "1805.01053"
    )
    table.add_row(
        "normalisation", "what N^−γ changes between the two: variance, bias, movement, test error", "2011.10487"
    )
    table.add_row(
        "multilayer",
        "deep networks with averages follow a flow of their neurons; diversity, loss to zero",
        "2006.09355",
    )
    table.add_row(
        "min_norm", "gradient descent goes to the solution nearest to its start, and to kernel regression", "2105.06569"
    )
    table.add_row(
        "mild", "which neurons learn at first, how fast the loss falls, and when: at widths like log n", "2206.02139"
    )
    table.add_row(
        "definiteness", "the kernel is positive definite off the theorem's border, and singular on it", "Ito 1996"
    )
    rich.console.Console().print(table)
    return 0
