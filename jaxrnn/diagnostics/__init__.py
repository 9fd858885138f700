"""Looking inside a network: what it does while it runs, and what becomes of its gradient.

Pure functions of any cell or network. Nothing changes in the model.
"""

from jaxrnn.diagnostics.finite import NonFinite as NonFinite
from jaxrnn.diagnostics.finite import first_non_finite as first_non_finite
from jaxrnn.diagnostics.fixed_points import FixedPoints as FixedPoints
from jaxrnn.diagnostics.fixed_points import fixed_points as fixed_points
from jaxrnn.diagnostics.gradients import gradient_matrix as gradient_matrix
from jaxrnn.diagnostics.gradients import gradient_norms as gradient_norms
from jaxrnn.diagnostics.jacobians import jacobian as jacobian
from jaxrnn.diagnostics.jacobians import singular_values as singular_values
from jaxrnn.diagnostics.lyapunov import lyapunov_exponents as lyapunov_exponents
from jaxrnn.diagnostics.lyapunov import lyapunov_exponents_of as lyapunov_exponents_of
from jaxrnn.diagnostics.memory import effective_memory as effective_memory
from jaxrnn.diagnostics.plots import plot_effective_memory as plot_effective_memory
from jaxrnn.diagnostics.plots import plot_first_non_finite as plot_first_non_finite
from jaxrnn.diagnostics.plots import plot_fixed_points as plot_fixed_points
from jaxrnn.diagnostics.plots import plot_gradient_matrix as plot_gradient_matrix
from jaxrnn.diagnostics.plots import plot_gradient_norms as plot_gradient_norms
from jaxrnn.diagnostics.plots import plot_lyapunov_exponents as plot_lyapunov_exponents
from jaxrnn.diagnostics.plots import plot_saturation as plot_saturation
from jaxrnn.diagnostics.plots import plot_singular_values as plot_singular_values
from jaxrnn.diagnostics.record import Record as Record
from jaxrnn.diagnostics.record import record as record
from jaxrnn.diagnostics.saturation import Saturation as Saturation
from jaxrnn.diagnostics.saturation import saturation as saturation
