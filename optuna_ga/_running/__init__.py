"""Running a study by whole generations, in this process or on parallel workers."""
