"""A trained model as a service: HTTP endpoints and a page."""
