"""Kernels of the limit: Gram matrices with errors, rules to evaluate them, proofs that they are positive definite."""

from jaxlimit.kernels._certify import Certificate as Certificate
from jaxlimit.kernels._certify import CertificateStatus as CertificateStatus
from jaxlimit.kernels._certify import certify as certify
from jaxlimit.kernels._confidence import LambdaMinConfidence as LambdaMinConfidence
from jaxlimit.kernels._confidence import LambdaMinReplicates as LambdaMinReplicates
from jaxlimit.kernels._confidence import lambda_min_confidence as lambda_min_confidence
from jaxlimit.kernels._confidence import lambda_min_replicates as lambda_min_replicates
from jaxlimit.kernels._empirical import EmpiricalLambdaMin as EmpiricalLambdaMin
from jaxlimit.kernels._empirical import empirical_gram as empirical_gram
from jaxlimit.kernels._empirical import empirical_lambda_min as empirical_lambda_min
from jaxlimit.kernels._estimate import AbstractEigensolver as AbstractEigensolver
from jaxlimit.kernels._estimate import Krylov as Krylov
from jaxlimit.kernels._estimate import LambdaMinEstimate as LambdaMinEstimate
from jaxlimit.kernels._estimate import ShiftInvert as ShiftInvert
from jaxlimit.kernels._estimate import lambda_min_estimate as lambda_min_estimate
from jaxlimit.kernels._gram import gram as gram
from jaxlimit.kernels._gram import initial_covariance as initial_covariance
from jaxlimit.kernels._monte_carlo import MonteCarlo as MonteCarlo
from jaxlimit.kernels._quadrature import Quadrature as Quadrature
from jaxlimit.kernels._rules import AbstractRule as AbstractRule
from jaxlimit.kernels._rules import Block as Block
from jaxlimit.kernels._rules import ClosedForm as ClosedForm
from jaxlimit.kernels._rules import Duals as Duals
from jaxlimit.kernels._types import Gram as Gram
