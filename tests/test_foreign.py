"""What another library's checkpoint may not be asked for is refused before it is loaded."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")

from robot_stack.config.commands import ExportCommand
from robot_stack.errors import ConfigError
from robot_stack.foreign import export


@pytest.mark.parametrize(("asked", "said"), [({"precision": "fp16"}, "allowed fp32"), ({"selector": "q_rank"}, "allowed none")])
def test_what_a_checkpoint_of_another_library_cannot_have_is_named(asked, said):
    with pytest.raises(ConfigError, match=rf"{next(iter(asked))}: found .*{said} for a checkpoint of another library"):
        export(lambda episodes: pytest.fail("it was loaded"), ExportCommand(checkpoint="c", dataset="d", **asked), [])
