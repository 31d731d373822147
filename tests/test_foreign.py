"""What another library's checkpoint may not be asked for is refused before it is loaded."""

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")

from robot_stack.config.commands import ExportCommand
from robot_stack.errors import ConfigError
from robot_stack.foreign import export


def test_a_critic_s_selector_for_a_checkpoint_of_another_library_is_refused():
    with pytest.raises(ConfigError, match=r"selector: found 'q_rank', allowed taco or none for a checkpoint of another library"):
        export(
            lambda episodes: pytest.fail("it was loaded"), ExportCommand(checkpoint="c", dataset="d", selector="q_rank"), [], 9
        )
