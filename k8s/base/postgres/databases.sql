-- Run once, when the data folder is empty. The service's database is made by the image, with PostGIS in it.
CREATE DATABASE mlflow;
