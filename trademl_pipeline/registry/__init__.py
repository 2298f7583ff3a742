"""The model registry: who is champion, by which rule, and a fold's models in the form in which MLflow serves them."""
