"""Files and folders: whole or absent, locked by one writer, named in every error."""
