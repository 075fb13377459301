"What API and workers share: users and jobs in the database, results in the store."
