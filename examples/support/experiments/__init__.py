"""The command line of an experiment: options, seeds that resume, a record of the results, figures.

parser = experiments.parser("speaker", __doc__, steps=600, seeds=5, batch=32, lr=1e-2)
experiments.run(parser, work, argv)       # work(args); whatever is wrong is said in one line

runs = experiments.seeds(args, one_seed)  # one_seed(seed, folder) -> {"accuracy": 0.96}
table = experiments.Table("accuracy", {"BiLSTM": "accuracy"}, {"published": 0.954})
experiments.report(
    args, runs, [table], shape="many to one", data="JapaneseVowels", shows="who speaks"
)
"""

from support.experiments.options import Interrupted as Interrupted
from support.experiments.options import package as package
from support.experiments.options import parser as parser
from support.experiments.options import positive as positive
from support.experiments.options import run as run
from support.experiments.pictures import confusion as confusion
from support.experiments.pictures import figure as figure
from support.experiments.pictures import heat as heat
from support.experiments.runs import Table as Table
from support.experiments.runs import held as held
from support.experiments.runs import often as often
from support.experiments.runs import read_json as read_json
from support.experiments.runs import report as report
from support.experiments.runs import seeds as seeds
from support.experiments.runs import settled as settled
from support.experiments.runs import trained as trained
from support.experiments.runs import write_json as write_json
