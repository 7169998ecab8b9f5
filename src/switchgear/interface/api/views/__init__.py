"""From records of the services to answers of the API: pure functions, one file per noun."""
