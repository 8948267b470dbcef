# Auth::Yubikey_WebClient. With KEEP in the environment one object asks about all OTPs, as in LemonLDAP::NG.
use strict;
use warnings;
use Auth::Yubikey_WebClient;

open(my $answers, '>&', \*STDOUT) or die;
open(STDOUT, '>&', \*STDERR) or die; # it prints errors of HTTP there
$answers->autoflush(1);
my ($url, $id, $key) = @ARGV;
my $client;
while (my $otp = <STDIN>) {
    chomp $otp;
    $client = undef unless $ENV{KEEP};
    $client //= Auth::Yubikey_WebClient->new({ id => $id, api => $key, url => $url });
    my $said = eval { $client->otp($otp) } // "died: $@";
    $said =~ s/\s+/ /g;
    print $answers $said eq 'OK' ? "yes\n" : "no $said\n";
}
