#!/usr/bin/env perl
# A script that is not Python: logistic regression by gradient descent, one sample a step. It reads the JSON file that
# PIPELINE_TRIAL names and writes JSON lines to the file that is named in there; params.yaml says script.steps_per_epoch: 60.
use strict;
use warnings;
use JSON::PP;

open my $in, '<', $ENV{PIPELINE_TRIAL} or die "PIPELINE_TRIAL names no file; start this by the pipeline\n";
my $asked = decode_json(join '', <$in>);
open my $out, '>>', $asked->{lines} or die $!;
$out->autoflush(1);

# The same data for all seeds, but for params.yaml's `resample: true`; 60 samples to train on, 60 and 60 to look at.
srand($asked->{split});
my @samples = map { my ($u, $v) = (2 * rand() - 1, 2 * rand() - 1); [$u, $v, (2 * $u - $v + 0.4 * rand() > 0.2) ? 1 : 0] } 1 .. 180;
srand($asked->{seed});
my @weights = map { rand() - 0.5 } 1 .. 3;

sub chance { my ($sample) = @_; 1 / (1 + exp(-$weights[0] * $sample->[0] - $weights[1] * $sample->[1] - $weights[2])) }

sub evaluated {
    my ($loss, $right) = (0, 0);
    for my $sample (@_) {
        my $p = chance($sample);
        $loss -= log(1e-12 + ($sample->[2] ? $p : 1 - $p)) / @_;
        $right += (($p > 0.5) == $sample->[2]) / @_;
    }
    return ($loss, $right);
}

my $step = 0;
for my $epoch (1 .. $asked->{epochs}) {
    my ($first, $total) = ($asked->{rates}[$step], 0);
    for my $number (1 .. 60) {
        my $sample = $samples[int(rand(60))];
        my $p      = chance($sample);
        my $slope  = $asked->{rates}[$step++] * ($p - $sample->[2]);    # the rate of this very step
        $total -= log(1e-12 + ($sample->[2] ? $p : 1 - $p)) / 60;
        $weights[$_] -= $slope * $sample->[$_] for 0 .. 1;
        $weights[2] -= $slope;
    }
    my ($loss, $right) = evaluated(@samples[60 .. 119]);
    print $out encode_json({epoch => $epoch, lr => $first, train_loss => $total, validation_loss => $loss, validation_metric => $right}), "\n";
}
my ($loss, $right) = evaluated(@samples[120 .. 179]);
print $out encode_json({finish => {test_loss => $loss, test_metric => $right}}), "\n";
