"""The networks, one a module: plain torch, without training or files."""

from typing import Final

from survey.learning.models import inception1d, period_net, pixel_cnn, resnet1d
from survey.learning.models.kind import Kind

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind for kind in (resnet1d.KIND, inception1d.KIND, period_net.KIND, pixel_cnn.KIND)
}
"""What a model can be, by the name that stands in its model.json."""
