# AnyEvent::Yubico.
use strict;
use warnings;
use AnyEvent::Yubico;

$| = 1;
my ($url, $id, $key) = @ARGV;
my $client = AnyEvent::Yubico->new({ client_id => $id, api_key => $key, urls => [$url], local_timeout => 10 });
while (my $otp = <STDIN>) {
    chomp $otp;
    my $said = eval { $client->verify_sync($otp)->{status} } // "died: $@";
    $said =~ s/\s+/ /g;
    print $said eq 'OK' ? "yes\n" : "no $said\n";
}
