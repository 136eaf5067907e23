# What R says of a small data set drawn here: Rscript make.R, in this folder. Needs pROC.
suppressMessages(library(pROC))
set.seed(7)
label <- rep(c(0, 1), c(60, 40))
first <- round(plogis(rnorm(100, label * 1.2)), 2)
second <- round(plogis(rnorm(100, label * 0.6) + qlogis(pmin(pmax(first, .02), .98)) * 0.5), 2)
write.csv(data.frame(label, first, second), "scores.csv", row.names = FALSE, quote = FALSE)
a <- roc(label, first, direction = "<", quiet = TRUE)
b <- roc(label, second, direction = "<", quiet = TRUE)
pair <- roc.test(a, b, method = "delong", paired = TRUE)
right1 <- (first >= .5) == label; right2 <- (second >= .5) == label
lost <- sum(right1 & !right2); won <- sum(!right1 & right2)
p <- c(0.01, 0.04, 0.03)
out <- c(auc = as.numeric(auc(a)), low = ci.auc(a, method = "delong")[1], high = ci.auc(a, method = "delong")[3],
  pair_z = unname(pair$statistic), pair_p = pair$p.value, mcnemar_p = binom.test(lost, lost + won)$p.value,
  lost = lost, won = won, holm = p.adjust(p, "holm"),
  wilson_low = prop.test(30, 40, correct = FALSE)$conf.int[1], wilson_high = prop.test(30, 40, correct = FALSE)$conf.int[2])
write.csv(data.frame(name = names(out), value = format(out, digits = 12)), "r.csv", row.names = FALSE, quote = FALSE)
