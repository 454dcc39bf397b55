"""Where sessions lie besides the folder that they were made in: other folders, and object stores."""
