"""The models of `GASampler.adaptive`: Gaussian processes, what they see, and a quadratic one."""
