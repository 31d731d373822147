"""Relabelling: recorded episodes get new columns, beside the log and never in it.

How to write a labeller
-----------------------
A labeller is one module, `robot_stack/relabel/NAME.py`, with a constant `LABELLER = Labeller(...)` (see `labeller.py`), a line
in `commands.LABELLERS`, and a settings class as the field NAME of `config/relabel.py:RelabelCommand`. The work is done by

    label(episode: Recording, settings, gathered) -> dict of labels

which gets one episode and returns new columns, arrays (n,) or (n, D) with a row for each of the episode's, and numbers, texts or
booleans that are said once of the whole episode. It may read

    episode.columns["observation.state"], ["action"]      measured and commanded joints (n, J), in the type they were stored in
    episode.columns["qd"], ["mode"], ["t_ns"], ...        of a log: what `data.from_log.episode_from_log` lists; modes are numbers
    episode.cameras[NAME]                                 pictures, lazily: nothing is decoded before it is iterated
    episode.constants, .task, .robot, .rate_hz, .names    what is said once

and the labels of earlier runs, those it names in `reads`, under their names in `columns` and `constants`: so labellers compose.
Files beside the dataset, such as a checkpoint, it names in `files`: with another content the labels are no longer the same.
A labeller that has to see the whole dataset first says `measure(episode, settings) -> fact`, called for every episode (in any
process; facts are pickled), and `gather(facts by episode name, settings, catalogue) -> gathered`, called once: train, count, ask
a person. `tell(gathered) -> str` is printed and kept.

All of them are functions at the top of a module and deterministic: the same episode, settings and facts give the same labels.
An episode that cannot be labelled raises DataError; it is named, the others go on. A label may not have the name of a recorded
column. A text called `instruction` is the episode's task from then on.

What a run is
-------------
`robot-stack relabel NAME dataset=D` writes `D/labels/0001-NAME/EPISODE.parquet`, one for each episode, whole or not at all, with
the labeller, its version and settings, and the sha256 of the log, of each label and of each file that was read; `run.json`
beside them says who, when and why. Then one line goes into the dataset's journal of edits: from there on every reader of the
dataset sees the labels (`data.labels`), newer runs over older ones, also through `data convert` and `train`. `data undo` or
`relabel undo=0001-NAME` takes the line out; files stay until `data gc`. An episode that has just these labels is left alone.
"""
