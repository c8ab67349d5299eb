# Which notebook makes which file from which. One rule a stage; papermill runs inside `python -m lib.pipeline run`.
#   make reproduce PROFILE=cpu DATASETS=mnist FEATURES=thick     or
#   snakemake --cores 2 --config profile=cpu datasets=mnist features=thick
import sys

from lib.domains import DOMAINS
from lib.methods import METHODS
from lib.models import GENERATORS, ReadOut
from lib.pipeline import cells, load_profile, methods_of, parameters_of, some, source_digest
from lib.runs import FIGURES, TABLES, results_root

PROFILE = config.get("profile", "cpu")
MATRIX = load_profile(PROFILE)
DATASETS = some(MATRIX, config.get("datasets", ",".join(MATRIX["datasets"])).split(","))
FEATURES = [name for name in str(config.get("features") or "").split(",") if name]
HOME = f"{results_root()}/{PROFILE}"
DATA = f"{HOME}/{{dataset}}"
MODEL = f"{DATA}/{{model}}/seed{{seed}}"
CELL = f"{MODEL}/{{feature}}"
PYTHON = f"OMP_NUM_THREADS={{threads}} {sys.executable} -m lib.pipeline"
RUN = f"{PYTHON} run {{params.notebook}} --checked --profile {PROFILE} -p DATASET {{wildcards.dataset}}"
CELL_RUN = RUN + " -p MODEL {wildcards.model} -p SEED {wildcards.seed} -p FEATURE {wildcards.feature}"
JUDGES = [
    f"{DATA}/{name}"
    for name in (
        "dataset.npz",
        "cutoffs.json",
        "errors.json",
        "classifier.safetensors",
        "judge-a.safetensors",
        "judge-b.safetensors",
    )
]
CHOSEN = cells(MATRIX, DATASETS, FEATURES)
CELLS = [CELL.format(dataset=dataset, model=model, seed=seed, feature=feature) for dataset, model, feature, seed in CHOSEN]


def asked(kind, seeds):
    """The chosen cells of these seeds for which the profile asks for ``needs`` or a ``search``, and what they are of."""
    return [
        (cell, dataset, model, feature)
        for cell, (dataset, model, feature, seed) in zip(CELLS, CHOSEN)
        if seed in seeds and MATRIX["datasets"][dataset].get(kind, {}).get(model) == feature
    ]


def stage(notebook):
    """What makes a stage run again: the notebook's code and its parameters in the profile."""
    return dict(
        notebook=notebook,
        code=source_digest(notebook),
        values=lambda wildcards: str(
            parameters_of(MATRIX, notebook, *(getattr(wildcards, name, "") for name in ("dataset", "model")))
        ),
    )


wildcard_constraints:
    dataset="[a-z0-9-]+",
    model="[a-z0-9-]+",
    seed=r"\d+",
    feature="[a-z0-9-]+",
    method="|".join(METHODS),


rule all:
    input:
        f"{HOME}/manifest.json",


rule data:
    output:
        *JUDGES,
        f"{DATA}/metrics-data.csv",
        f"{DATA}/costs-data.csv",
    params:
        **stage("01_data"),
    threads: MATRIX["threads"]
    priority: 2  # first, and what trains longest next, so that nothing is left to run alone at the end
    shell:
        RUN + " --outputs {output}"


def gold(wildcards):
    """The gold retrain, where there is one: nobody can retrain a generator that came without its images."""
    foreign = wildcards.model in DOMAINS[wildcards.dataset].generators
    return [] if foreign else f"{CELL}/gold/generator.safetensors"


for model, companion in (("gan", "discriminator"), ("vae", "encoder"), ("vae-w", "encoder")):

    rule:
        name:
            f"pretrain_{model.replace('-', '_')}"
        input:
            JUDGES,
        output:
            *(
                f"{DATA}/{model}/seed{{seed}}/{file}"
                for file in ("generator.safetensors", f"{companion}.safetensors", "metrics-pretrain.csv", "costs-pretrain.csv")
            ),
        wildcard_constraints:
            dataset="|".join(name for name, domain in DOMAINS.items() if model not in domain.generators),
        params:
            **stage("02_pretrain"),
            model=model,
        threads: MATRIX["threads"]
        priority: 1
        shell:
            RUN + " -p MODEL {params.model} -p SEED {wildcards.seed} --outputs {output}"


for dataset, domain in DOMAINS.items():
    if domain.generators:

        rule:
            name:
                f"adopt_{dataset}"
            input:
                JUDGES,
            output:
                f"{MODEL}/generator.safetensors",
                f"{MODEL}/metrics-pretrain.csv",
                f"{MODEL}/costs-pretrain.csv",
            wildcard_constraints:
                dataset=dataset,
                model="|".join(domain.generators),
            params:
                **stage("02_pretrain"),
            shell:
                RUN + " -p MODEL {wildcards.model} -p SEED {wildcards.seed} --outputs {output}"


# One thread each, so that two run side by side: a second thread speeds up these small networks by a quarter only.
rule gold:
    input:
        JUDGES,
    output:
        f"{CELL}/gold/generator.safetensors",
        f"{CELL}/gold/metrics-gold.csv",
        f"{CELL}/gold/costs-gold.csv",
    params:
        **stage("02_pretrain"),
    priority: 1
    shell:
        RUN + " -p MODEL {wildcards.model} -p SEED {wildcards.seed} -p WITHOUT {wildcards.feature} --outputs {output}"


rule direction:
    input:
        JUDGES,
        f"{MODEL}/generator.safetensors",
    output:
        *(f"{CELL}/{file}" for file in ("direction.safetensors", "judge.json", "metrics-direction.csv", "costs-direction.csv")),
    params:
        **stage("03_direction"),
    shell:
        CELL_RUN + " --outputs {output}"


rule unlearn:
    input:
        JUDGES,
        f"{MODEL}/generator.safetensors",
        f"{CELL}/direction.safetensors",
    output:
        f"{CELL}/{{method}}/generator.safetensors",
        f"{CELL}/{{method}}/costs-unlearn.csv",
    params:
        **stage("04_unlearn"),
    threads: lambda wildcards: MATRIX["datasets"][wildcards.dataset].get("threads", MATRIX["threads"])
    shell:
        CELL_RUN + " -p METHOD {wildcards.method} --outputs {output}"


def unlearned(wildcards):
    """What the methods made of one generator and feature."""
    return [f"{CELL}/{method}/generator.safetensors" for method in methods_of(MATRIX, wildcards.dataset, wildcards.model)]


rule evaluate:
    input:
        JUDGES,
        f"{MODEL}/generator.safetensors",
        gold,
        f"{CELL}/direction.safetensors",
        f"{CELL}/judge.json",
        unlearned,
    output:
        f"{CELL}/metrics-evaluate.csv",
        f"{CELL}/costs-evaluate.csv",
    params:
        **stage("05_evaluate"),
    shell:
        CELL_RUN + " --outputs {output}"


rule attack:
    input:
        rules.evaluate.input,
    output:
        f"{CELL}/attacks-attack.csv",
        f"{CELL}/costs-attack.csv",
    params:
        **stage("06_attack"),
    shell:
        CELL_RUN + " --outputs {output}"


rule search:
    input:
        JUDGES,
        f"{MODEL}/generator.safetensors",
        f"{CELL}/direction.safetensors",
    output:
        f"{CELL}/{{method}}/trials-search.csv",
    params:
        **stage("09_search"),
    shell:
        CELL_RUN + " -p METHOD {wildcards.method} --outputs {output}"


rule needs:
    input:
        JUDGES,
        f"{MODEL}/generator.safetensors",
        gold,
        f"{CELL}/direction.safetensors",
        f"{CELL}/judge.json",
    output:
        f"{CELL}/needs-least.csv",
    params:
        **stage("11_needs"),
    shell:
        CELL_RUN + " --outputs {output}"


# A quarter of an hour each: every other seed.
NEEDED = [f"{cell}/needs-least.csv" for cell, *_ in asked("needs", MATRIX["seeds"][::2])]
SEARCHED = [
    f"{cell}/{method}/trials-search.csv"
    for cell, dataset, model, _ in asked("search", MATRIX["seeds"][:1])
    for method in methods_of(MATRIX, dataset, model)
]
EXTRAS = [  # figures of some chains alone
    *(f"{dataset}/labels-{model}-{feature}" for _, dataset, model, feature in asked("needs", MATRIX["seeds"][:1])),
    *sorted({f"{dataset}/full-size" for dataset, model, *_ in CHOSEN if issubclass(GENERATORS[model], ReadOut)}),
]
MORE = [kind for kind, files in (("trials", SEARCHED), ("needs", NEEDED)) if files]


rule report:
    input:
        SEARCHED,
        NEEDED,
        [f"{cell}/{file}" for cell in CELLS for file in ("metrics-evaluate.csv", "attacks-attack.csv")],
    output:
        # Updated, not made anew: the rows of data sets that are not run now stay.
        *(update(f"{HOME}/{name}.csv") for name in ("metrics", "attacks", "costs", *MORE)),
        *(f"{HOME}/tables/{name}.{kind}" for name in (*TABLES, *MORE) for kind in ("csv", "md")),
        *(f"{HOME}/figures/{dataset}/{name}.png" for dataset in DATASETS for name in FIGURES),
        *(f"{HOME}/figures/{name}.png" for name in EXTRAS),
        f"{HOME}/report.html",
    params:
        **stage("07_report"),
        datasets=str(DATASETS),
    shell:
        f"{PYTHON} run {{params.notebook}} --checked --profile {PROFILE} " + "-p DATASETS \"{params.datasets}\" --outputs {output}"


rule manifest:
    input:
        rules.report.output,
    output:
        update(f"{HOME}/manifest.json"),
    shell:
        f"{sys.executable} -m lib.pipeline manifest --profile {PROFILE}"
