"""What a trained model is worth: accuracies, samples, report."""
