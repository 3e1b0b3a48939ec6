"""Studies: one theorem each, put to the test from simulation to verdict."""

from jaxlimit.studies._build import activation_from as activation_from
from jaxlimit.studies._build import complete_settings as complete_settings
from jaxlimit.studies._build import data_from as data_from
from jaxlimit.studies._build import data_settings as data_settings
from jaxlimit.studies._build import definiteness_arguments as definiteness_arguments
from jaxlimit.studies._build import definiteness_settings as definiteness_settings
from jaxlimit.studies._build import network_from as network_from
from jaxlimit.studies._build import problem_from as problem_from
from jaxlimit.studies._build import resolved_settings as resolved_settings
from jaxlimit.studies._build import rule_from as rule_from
from jaxlimit.studies._build import xavier_arguments as xavier_arguments
from jaxlimit.studies._build_scalings import mean_field_arguments as mean_field_arguments
from jaxlimit.studies._build_scalings import mean_field_problem as mean_field_problem
from jaxlimit.studies._build_scalings import mean_field_settings as mean_field_settings
from jaxlimit.studies._build_scalings import normalisation_arguments as normalisation_arguments
from jaxlimit.studies._build_scalings import normalisation_settings as normalisation_settings
from jaxlimit.studies._definiteness import definiteness as definiteness
from jaxlimit.studies._definiteness_sampled import sampled_definiteness as sampled_definiteness
from jaxlimit.studies._mean_field import mean_field as mean_field
from jaxlimit.studies._multilayer import multilayer as multilayer
from jaxlimit.studies._multilayer_build import multilayer_arguments as multilayer_arguments
from jaxlimit.studies._multilayer_build import multilayer_problem as multilayer_problem
from jaxlimit.studies._multilayer_build import multilayer_settings as multilayer_settings
from jaxlimit.studies._normalisation import normalisation as normalisation
from jaxlimit.studies._xavier import xavier as xavier
