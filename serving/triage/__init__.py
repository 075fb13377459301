"Alertmanager's receiver: an alert becomes an issue."
