# Each target works alone on a fresh clone: Python 3.11 or newer and make, nothing else.

PYTHON ?= python3
BIN := .venv/bin
DATA ?= ../shared/data
MODELS ?= base small
WORKERS ?= 3
LOAD_MODEL ?= base
STREAM_MODEL ?= $(LOAD_MODEL)
FILES ?= 5000
TIMED ?= 3000
DEBIAN_TOOLS := libvo-amrwbenc0 libopencore-amrwb0 libspeex1 libgsm1 libbcg729-0 libspandsp2 libopus0 codec2 \
	gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-bad nodejs
FUZZ_S ?= 300
PARTS ?= cluster ddp cost speed simulation

.PHONY: voicebank sources witnesses ensemble fuzz hostile soak kills golden mutation load64 demo test check format examples curves measures corpus corpus-tools train tuning small mosa-net ratings card peers reproduce bench docs clean load history scale sbom web pictures

demo: .venv/demo.done  ## score the example recordings and print the table
	$(BIN)/mtqnet score examples/recordings

test: .venv/dev.done  ## all tests, in three processes with a math thread each, because long tests wait for other processes; WORKERS=0 for one process
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
		$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

web: .venv/dev.done  ## the package for browsers and the static page in web/dist, and their tests (Node 20, Chromium)
	cd web && npm ci --no-audit --no-fund --silent && npm run --silent build && npm test

check: .venv/dev.done  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m research.wording

format: .venv/dev.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

examples: .venv/dev.done  ## generate examples/recordings again (needs flite)
	$(BIN)/python examples/make_recordings.py examples/recordings

curves: .venv/dev.done  ## fit the labeller's curves to the rated reference conditions
	$(BIN)/python -m research.labeller fit --rated $(DATA)/p835_csp835_refconditions \
		--speech $(DATA)/speech_librispeech/train-clean-100

measures: .venv/dev.done  ## docs/labeller.md: the labeller's measures against ratings (ten minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'visqol-python[lattice]==3.8.0'
	$(BIN)/python -m research.labeller compare --rated $(DATA)/p835_csp835_refconditions --codecs $(DATA)/mushra_neural_codec \
		--triples $(DATA)/pairs_voicebank_demand_cmgan --speech $(DATA)/speech_librispeech/train-clean-100 \
		--output docs/labeller.md

voicebank: .venv/dev.done  ## docs/results/voicebank.md: labels of clean, enhanced and noisy speech (two minutes)
	$(BIN)/python -m research.labeller order --triples $(DATA)/pairs_voicebank_demand_cmgan --output docs/results/voicebank.md

sources: .venv/dev.done  ## download and convert public speech and noise into runs/sources (docs/sources.md; git and apt-get)
	$(BIN)/python -m research.sources --out runs/sources

corpus-tools: .venv/dev.done  ## codecs and suppressors that corpora may use (docs/corpus-tools.md); what cannot be installed is left out
	-apt-get install --yes --quiet --no-install-recommends $(DEBIAN_TOOLS)
	-npm install --no-save @wasm-audio-decoders/opus-ml@0.0.3
	$(BIN)/mtqnet corpus kinds

corpus: .venv/dev.done  ## 10,000 labelled clips in runs/corpus, and their statistics for docs/corpus.md
	$(BIN)/mtqnet corpus build --speech $(DATA)/speech_librispeech/train-clean-100 --speech $(DATA)/speech_asterisk_5lang \
		--speech $(DATA)/pairs_voicebank_demand_cmgan/clean --noise $(DATA)/noise_mixed_cc --rooms $(DATA)/rir_real \
		--clips train=8200 --clips validation=500 --clips test=500 --clips unseen=400 --clips unseen2=400 \
		--out runs/corpus
	$(BIN)/mtqnet corpus describe runs/corpus
	$(BIN)/python -m research.corpus_picture runs/corpus docs/corpus.png

train: .venv/dev.done peers  ## corpus, MOSA-Net, MTQ-Net, ONNX: a model in runs/base/model
	$(BIN)/mtqnet train configs/base.toml --data $(DATA) --out runs/base

mosa-net: .venv/dev.done  ## MOSA-Net with the encoder of RUN=runs/base: a model in runs/mosa-net/model
	$(BIN)/python -m research.mosa_net $(or $(RUN),runs/base) --data $(DATA) --out runs/mosa-net

ratings: .venv/dev.done  ## docs/results/ratings.md: the methods of the paper with ratings of listeners
	$(BIN)/python -m research.rated_training --data $(DATA) --out runs/rated

tuning: .venv/dev.done  ## docs/results/tuning.md: fine-tuned on two speakers, tested on the third (five minutes)
	$(BIN)/python benchmarks/unseen_talker.py --model $(firstword $(MODELS)) --data $(DATA) --output docs/results

small: .venv/dev.done  ## distil the small network from `base`: a model in runs/small/model
	$(BIN)/mtqnet train configs/small.toml --data $(DATA) --out runs/small --corpus runs/base/corpus

witnesses: .venv/dev.done peers  ## docs/results/witnesses.md: labels and models compared with predictors after noise suppression (half an hour)
	$(BIN)/python -m research.witnesses --data $(DATA) --peers .venv-peers/bin/python --output docs/results

ensemble: .venv/dev.done peers  ## weights of the label ensemble, from rated sets and a corpus (CORPUS=runs/corpus)
	$(BIN)/python -m research.fit_ensemble --data $(DATA) --corpus $(or $(CORPUS),runs/corpus) --peers .venv-peers/bin/python

card: .venv/dev.done  ## MODEL_CARD.md: accuracy of the shipped models and of DNSMOS and Distill-MOS on rated sets, invariance of scores
	mkdir -p runs docs/results/card
	$(BIN)/python $(DATA)/../tools/rated_sets.py score-list > runs/rated.txt
	for model in $(MODELS); do \
		$(BIN)/mtqnet score --quiet --model $$model --output runs/$$model.csv $$(cat runs/rated.txt) && \
		$(BIN)/python $(DATA)/../tools/rated_sets.py check runs/$$model.csv --csv docs/results/card/$$model.rated.csv && \
		$(BIN)/python -m research.invariance --model $$model --output docs/results/card/$$model.invariance.csv \
			$(DATA)/p835_csp835_refconditions/wb || exit 1; \
	done
	if [ -f docs/results/models.csv ]; then \
		grep -E '^(arm|dnsmos|dnsmos_p808|distillmos),' docs/results/models.csv > docs/results/card/peers.csv; fi
	if [ -f docs/results/witnesses.csv ]; then cp docs/results/witnesses.csv docs/results/card/; fi
	$(BIN)/python -m research.model_card $(MODELS) --results docs/results/card --output MODEL_CARD.md

peers: .venv-peers/peers.done  ## DNSMOS and Distill-MOS in a separate environment

reproduce: .venv/dev.done peers  ## the paper's experiments, and those on hyperparameters and corpus, into docs/results (a night on two cores)
	$(BIN)/python -m research.experiments --data $(DATA)

bench: .venv/dev.done peers  ## docs/benchmarks.md: speed, memory and size compared with DNSMOS and Distill-MOS (a quarter of an hour, idle machine)
	$(BIN)/python benchmarks/bench.py --peers .venv-peers/bin/python --output docs

load: .venv/dev.done  ## docs/results/service.md: the service under load, with a verdict (five minutes, idle machine)
	$(BIN)/python benchmarks/load.py --model $(LOAD_MODEL) --stream-model $(STREAM_MODEL)

soak: .venv/dev.done  ## docs/results/soak.md: 30 minutes of mixed load on the service; memory, files, processes constant
	$(BIN)/python -m research.robustness.soak --output docs/results/soak.md

kills: .venv/dev.done  ## docs/results/kills_*.md: 200 kills of score, corpus, train, finetune and serve; nothing is lost (40 minutes)
	$(BIN)/python -m research.robustness.kill_score --kills 96 --output docs/results/kills_score.md
	$(BIN)/python -m research.robustness.kill_service --kills 6 --output docs/results/kills_service.md
	$(BIN)/python -m research.robustness.kill_training --kills 24 --output docs/results/kills_training.md

load64: .venv/dev.done  ## docs/results/load64.md: 64 clients of the service for two minutes; no unexpected answer
	$(BIN)/python -m research.robustness.soak --minutes 2 --clients 64 --title "64 clients" --output docs/results/load64.md

golden: .venv/dev.done  ## docs/results/golden.md: scores with the oldest and newest dependencies, and without VNNI (needs gcc)
	$(BIN)/python -m research.robustness.golden --output docs/results/golden.md

mutation: .venv/dev.done  ## docs/results/mutation.md: sampled mutants of labels, windows, statistics, intervals (half an hour)
	$(PYTHON) -m venv .venv-mutation
	.venv-mutation/bin/pip install --quiet --disable-pip-version-check cosmic-ray==8.7.0
	$(BIN)/python -m research.robustness.mutation --output docs/results/mutation.md

fuzz: .venv/dev.done  ## mutated audio, tables, model records and messages for FUZZ_S seconds each; failures are stored in build/fuzz
	$(BIN)/pip install --quiet --constraint constraints.txt -e '.[fuzz]'
	$(BIN)/python -m research.fuzz --seconds $(FUZZ_S) --output docs/results/fuzz.md

hostile: .venv/dev.done  ## docs/results/hostile_audio.md: damaged and hostile audio files, and their outcomes (a minute)
	$(BIN)/python -m research.fuzz.hostile --output docs/results/hostile_audio.md

sbom:  ## docs/results/sbom.json and licences.md: packages and weights of the core installation
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt .
	$(PYTHON) -m venv build/sbom-tool
	build/sbom-tool/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom==7.1.0
	build/sbom-tool/bin/python -m research.sbom --python build/sbom/bin/python --output docs/results

history: .venv/dev.done  ## docs/results/history.md: every filter of 100,000 rows, with a verdict (a minute)
	$(BIN)/python benchmarks/many_rows.py

scale: .venv/dev.done  ## docs/results/cluster.md: 5,000 files on a cluster that loses a node; what it costs and gains (PARTS=speed: idle machine)
	$(BIN)/python benchmarks/scale.py $(addprefix --part ,$(PARTS)) --files $(FILES) --timed-files $(TIMED) --output docs

pictures: .venv/dev.done  ## docs/images: page, plot and terminal with the shipped models (a minute; needs Chromium)
	$(BIN)/python -m research.pictures

docs: .venv-docs/docs.done  ## the documentation site, into build/site; a warning is an error
	.venv-docs/bin/mkdocs build --strict --quiet --site-dir build/site
	mkdir -p build/site/audio && cp examples/recordings/*.flac build/site/audio

clean:
	rm -rf .venv .venv-peers .venv-docs build dist .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mtqnet needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/demo.done: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/dev.done: .venv/bin/python pyproject.toml constraints.txt corpus-tools.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement corpus-tools.txt
	touch $@ .venv/demo.done

.venv-docs/docs.done: docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --requirement docs.txt
	touch $@

.venv-peers/peers.done: peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement peers.txt
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps distillmos==0.9.1 xls-r-sqa==0.1.0
	touch $@
