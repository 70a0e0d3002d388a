"""Training that resumes across generations: lineages, checkpoints and replays."""
