"""The pages where people judge and watch: one app, its authentication and connections, and each page's server."""
