"""The REST API. `create_app` in `main.py` builds it from the application's services. Source: INTERFACES 2."""
