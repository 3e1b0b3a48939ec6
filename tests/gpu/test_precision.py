"""The audit of precision where there are short products to be had."""

import pytest

import jaxlimit as jl


@pytest.mark.gpu
def test_float32_keeps_the_conclusion_on_an_accelerator_and_its_own_products_are_audited():
    audit = jl.doctor.precision()
    assert audit.holds, str(audit)
    default = [row for row in audit.rows if row.arithmetic == "float32, as the device multiplies by default"]
    assert len(default) == 4
    # What is rounded is the factors, by 2⁻⁸ at most: the emulated bfloat16 moves more, and float32 less.
    assert all(row.start < 0.1 for row in default)
