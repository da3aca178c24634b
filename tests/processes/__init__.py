"""The package under every web server, pool and way of making processes."""
