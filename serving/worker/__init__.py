"What runs the jobs, and answers what needs the science at once."
