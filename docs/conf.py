"""Settings of the documentation: `python -m sphinx -W -c docs . site`.

The folder of sources is the root of the repository, so that pages link to examples, benchmarks and
rows as they do in the repository.
"""

import optuna_ga

project = "optuna_ga"
author = copyright = "The optuna_ga authors"
release = optuna_ga.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
root_doc = "docs/index"
documents = ["CHANGELOG.md", "CONTRIBUTING.md"]
include_patterns = ["docs/**", "benchmarks/*.md", "benchmarks/**/*.md", *documents]
exclude_patterns = ["**/.*", "site/**", "**/*.ipynb"]

html_theme = "furo"
html_title = "optuna_ga"
html_additional_pages = {"index": "redirect.html"}
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
default_role = "code"  # Docstrings write code in single backticks.

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
