"""adlib: visual anomaly detection that anyone can reproduce, and that survives dirty training data.

Every folder is a room, named after a noun of the pipeline. A room imports only what stands on a lower line,
and rooms on one line know nothing of each other; `lint-imports` checks that (pyproject.toml).

    cli                                the commands
    tools | gate                       what a command does that is no stage; the verdict on two runs
    report                             the page and its tables
    supply | evaluation                downloads, archives and weights; metrics: scores meet labels
    fits                               trainings: models, thresholds and scores on disk
    learning | embedding | datasets    methods and equations; networks and rows; layouts of image sets
    papers | data | samples            the papers' tables; manifest, splits and rows; the drawn textures
    config                             params.yaml: types, ranges, and every path below outputs/
    base                               files, YAML, store, device, random streams

docs/pipeline.md shows which stage runs which rooms.
"""

__version__ = "0.1.0"
