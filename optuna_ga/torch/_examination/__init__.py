"""Steps of two members before a training, which show how their network can be trained."""
