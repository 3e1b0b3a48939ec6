"""Kernels of the limit: Gram matrices with errors, rules to evaluate them, proofs that they are positive definite."""

from jaxlimit.kernels._certify import Certificate as Certificate
from jaxlimit.kernels._certify import CertificateStatus as CertificateStatus
from jaxlimit.kernels._certify import certify as certify
from jaxlimit.kernels._empirical import empirical_gram as empirical_gram
from jaxlimit.kernels._gram import gram as gram
from jaxlimit.kernels._gram import initial_covariance as initial_covariance
from jaxlimit.kernels._quadrature import Quadrature as Quadrature
from jaxlimit.kernels._rules import AbstractRule as AbstractRule
from jaxlimit.kernels._rules import Block as Block
from jaxlimit.kernels._rules import ClosedForm as ClosedForm
from jaxlimit.kernels._rules import Duals as Duals
from jaxlimit.kernels._types import Gram as Gram
