"""What each path of the API answers; a module a subject, each with its `routes`."""
