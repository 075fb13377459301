"The service: jobs that are never lost, an API and a map. The science stays in geocrop."
