"""The morning after, cell by cell: screen a folder, look at the table, draw where the scores lie.

Editors that know `# %%` (VS Code, Spyder, PyCharm) run this cell by cell as a notebook. The picture
needs the extra evaluate: pip install '.[evaluate]'
"""

# %% Screen a folder of films. The same as `screener scan STUDIES --out REPORT`.
import sys
from pathlib import Path

from screener import Settings, scan

studies = Path(sys.argv[1] if len(sys.argv) > 1 else "sample_data/studies")
report = Path(sys.argv[2] if len(sys.argv) > 2 else "demo-report")
# The samples hold a file that is cut; in a fresh clone it is young, yet nothing is writing it.
summary = scan(studies, report, Settings(settle=0))
print(f"{summary.paths} paths, {summary.elapsed_s:.1f} s, exit code {summary.exit_code}")
for outcome, codes in summary.outcomes.items():
    print(f"  {outcome}: {sum(codes.values())}")

# %% The worklist. As text first: patient numbers may begin with zeros.
import pandas as pd

worklist = pd.read_csv(summary.triage_csv, dtype=str, keep_default_na=False)
worklist["score"] = pd.to_numeric(worklist["score"])
columns = ["rank", "triage", "score", "reason_code", "warnings"]
print(worklist[columns].to_string(index=False, na_rep=""))

# %% What was not scored, and why. A failure is never a negative: somebody should look.
images = pd.read_csv(summary.images_csv, dtype=str, keep_default_na=False)
left = images[images["outcome"] != "SCORED"]
print(left.groupby(["outcome", "reason_code", "reason"]).size().to_string())

# %% Where the scores lie, with the threshold that decides.
import matplotlib as mpl

mpl.use("Agg")  # a file; leave this line out where a window should open
import matplotlib.pyplot as plt

scored = worklist.dropna(subset="score").sort_values("score")
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.scatter(scored["score"], range(len(scored)), c=scored["triage"].eq("FLAGGED"), cmap="cool")
axes.axvline(float(scored["threshold"].iloc[0]), color="black", linestyle="--", label="threshold")
axes.set(xlabel="calibrated score", ylabel="study, by score", xlim=(0, 1), yticks=[])
axes.legend(loc="lower right")
figure.savefig(report.with_name(f"{report.name}-scores.png"), dpi=120)
