"""Which of several methods gives the better images, and how sure that is."""
