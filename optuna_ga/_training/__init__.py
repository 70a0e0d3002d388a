"""Training that resumes across generations: states, their stores, schedules."""
